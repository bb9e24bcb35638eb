"""Which examples are held out, decided by each example's own content."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from ingot.errors import CorpusError


def choose_held_out(contents: Iterable[bytes], share: float) -> NDArray[np.bool_]:
    """Return for each example whether it is held out: about ``share`` of them, one at least.

    A share of 0 holds none out. Equal examples are on the same side, and adding examples moves no
    other one across, but for the very first held out.

    Raises:
        CorpusError: all examples are alike, so that none can be held out.
    """
    hashes = np.array([_number(content) for content in contents], dtype=np.uint64)
    if share == 0:
        return np.zeros(len(hashes), np.bool_)
    chosen: NDArray[np.bool_] = hashes < min(int(share * 2.0**64), 2**64 - 1)
    if not chosen.any():
        chosen = hashes == hashes.min()
    if chosen.all():
        raise CorpusError(
            f"holds {len(hashes)} examples, all alike or too few to hold one out",
            where="data",
            fix="give more examples, or train on all of them with: --set task.held_out=0",
        )
    return chosen


def _number(content: bytes) -> int:
    return int.from_bytes(hashlib.sha256(content).digest()[:8], "little")
