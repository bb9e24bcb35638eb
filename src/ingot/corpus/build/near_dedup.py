"""Near-duplicate detection by MinHash signatures and locality-sensitive hashing."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ingot.corpus.build.build_state import BuildState
from ingot.errors import CorpusError

SLOTS = 128
"""Numbers in a signature; the estimate of similarity has a deviation of at most 1/sqrt(128)/2."""

_SHINGLE_WORDS = 5
_SEED = 0x1A60  # arbitrary but fixed: signatures of one build are compared with each other
_WORD = re.compile(r"\w+")
_MOST_CHARACTERS = 1 << 20  # of a document that are compared
_MOST_CANDIDATES = 64  # per band: a common phrase would make the comparison quadratic

Signature = npt.NDArray[np.uint32]


class NearDedup:
    """Index of the kept documents that finds whether a new one is similar to any of them.

    A document is the set of its runs of five words, case ignored. Its MinHash
    signature (Broder, "On the resemblance and containment of documents", 1997)
    is cut into bands; only documents that share a band are compared (locality
    sensitive hashing: Leskovec, Rajaraman and Ullman, "Mining of Massive
    Datasets", chapter 3). Signatures and bands are stored in the build state, so
    memory stays constant; the same documents in the same order give the same answers.

    Args:
        state: Holds the tables.
        threshold: The least estimated Jaccard similarity of a near-duplicate.

    Raises:
        CorpusError: the ``rensa`` package is not installed.
    """

    def __init__(self, state: BuildState, threshold: float) -> None:
        try:
            from rensa import RMinHash  # noqa: PLC0415  an optional package
        except ImportError as error:
            raise CorpusError(
                "removing near-duplicates needs rensa, which is not installed",
                where="near_duplicates",
                fix="pip install 'ingot[dedup]'",
            ) from error
        self._minhash = RMinHash
        self._state = state
        self._threshold = threshold
        self._rows = rows_per_band(threshold)
        state.run(
            "CREATE TABLE IF NOT EXISTS near_signature "
            "(number INTEGER PRIMARY KEY, signature BLOB NOT NULL)"
        )
        state.run(
            "CREATE TABLE IF NOT EXISTS near_band (band INTEGER, number INTEGER, "
            "PRIMARY KEY (band, number)) WITHOUT ROWID"
        )

    def add(self, text: str, number: int) -> bool:
        """Return whether document ``number`` is similar to no earlier one; if so, add it."""
        shingles = _shingles(text)
        if not shingles:
            return True  # punctuation only: exact deduplication compares such texts
        signature = self._sign(shingles)
        bands = self._bands(signature)
        if self._is_near_duplicate(signature, bands):
            return False
        self._state.run(
            "INSERT INTO near_signature VALUES (?, ?)", number, signature.astype("<u4").tobytes()
        )
        self._state.run_many(
            "INSERT OR IGNORE INTO near_band VALUES (?, ?)", [(band, number) for band in bands]
        )
        return True

    def _is_near_duplicate(self, signature: Signature, bands: Sequence[int]) -> bool:
        candidates: set[int] = set()
        for band in bands:
            candidates.update(
                number
                for (number,) in self._state.rows(
                    "SELECT number FROM near_band WHERE band = ? ORDER BY number LIMIT ?",
                    *(band, _MOST_CANDIDATES),
                )
            )
        return any(self._similarity(signature, number) >= self._threshold for number in candidates)

    def _similarity(self, signature: Signature, number: int) -> float:
        """Return the share of equal slots, which estimates the Jaccard similarity."""
        query = "SELECT signature FROM near_signature WHERE number = ?"
        ((other,),) = self._state.rows(query, number)
        return float(np.mean(np.frombuffer(other, "<u4") == signature))

    def _sign(self, shingles: list[str]) -> Signature:
        minhash = self._minhash(num_perm=SLOTS, seed=_SEED)
        minhash.update(shingles)
        return np.array(minhash.digest(), np.uint32)

    def _bands(self, signature: Signature) -> list[int]:
        """Return one number for each band; SQLite's integers are signed and have 64 bits."""
        data, size = signature.astype("<u4").tobytes(), 4 * self._rows
        return [
            int.from_bytes(
                hashlib.blake2b(
                    data[start : start + size], digest_size=8, salt=start.to_bytes(2, "big")
                ).digest(),
                "big",
                signed=True,
            )
            for start in range(0, len(data), size)
        ]


def rows_per_band(threshold: float) -> int:
    """Return the most rows per band that still find nine in ten pairs at the threshold.

    Two documents of similarity s share one of b bands of r rows with
    probability 1 - (1 - s^r)^b; more rows mean fewer needless comparisons.
    """
    for rows in (16, 8, 4):
        if 1 - (1 - threshold**rows) ** (SLOTS // rows) >= 0.9:
            return rows
    return 2


def _shingles(text: str) -> list[str]:
    words = _WORD.findall(text[:_MOST_CHARACTERS].lower())
    if len(words) <= _SHINGLE_WORDS:
        return [" ".join(words)] if words else []
    shifted = (words[start:] for start in range(_SHINGLE_WORDS))
    return list(map(" ".join, zip(*shifted, strict=False)))
