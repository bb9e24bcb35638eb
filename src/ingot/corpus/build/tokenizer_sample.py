"""Bounded sample of documents on which the tokenizer is trained."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterator

from ingot.corpus.build.build_state import BuildState
from ingot.corpus.build.split import split_document
from ingot.corpus.reading.documents import Document
from ingot.corpus.store.manifest import SplitMode


class DocumentSample:
    """The documents with the smallest keyed hashes, up to a number of bytes.

    The sample depends on the set of documents and on the seed, not on their
    order. The texts are stored in the build state, so that a build that is
    killed resumes with them; a new sample starts with what the state holds.
    """

    def __init__(self, state: BuildState, max_bytes: int, seed: int) -> None:
        self._state = state
        self._max_bytes = max_bytes
        self._key = seed.to_bytes(8, "big")
        state.run(
            "CREATE TABLE IF NOT EXISTS tokenizer_sample "
            "(rank BLOB PRIMARY KEY, digest BLOB, text TEXT, size INTEGER)"
        )
        self._heap = [
            (-int.from_bytes(rank, "big"), size)
            for rank, size in state.rows("SELECT rank, size FROM tokenizer_sample")
        ]
        heapq.heapify(self._heap)
        self._bytes = sum(size for _, size in self._heap)

    def add(self, document: Document) -> None:
        """Offer one document; digests must not repeat."""
        rank = hashlib.blake2b(document.digest, key=self._key, digest_size=16).digest()
        number = int.from_bytes(rank, "big")
        if self._bytes >= self._max_bytes and number > -self._heap[0][0]:
            return
        heapq.heappush(self._heap, (-number, document.size))
        self._bytes += document.size
        self._state.run(
            "INSERT INTO tokenizer_sample VALUES (?, ?, ?, ?)",
            *(rank, document.digest, document.text, document.size),
        )
        while self._bytes - self._heap[0][1] >= self._max_bytes:
            worst, size = heapq.heappop(self._heap)
            self._bytes -= size
            rank = (-worst).to_bytes(16, "big")
            self._state.run("DELETE FROM tokenizer_sample WHERE rank = ?", rank)

    def training_texts(self, mode: SplitMode, fraction: float) -> Iterator[str]:
        """Yield the training side of the sample, cut off at its number of bytes."""
        left = self._max_bytes
        for rank, _ in sorted(self._heap, reverse=True):
            digest, text, size = self._state.rows(
                "SELECT digest, text, size FROM tokenizer_sample WHERE rank = ?",
                (-rank).to_bytes(16, "big"),
            )[0]
            for side, part in split_document(Document(text, "", digest, size), mode, fraction):
                if side == "train" and left > 0:
                    yield part[:left]
                    left -= len(part)
