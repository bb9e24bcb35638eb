"""Pseudo-random permutation that is computed instead of stored."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

ROUNDS = 6


class Permutation:
    """A pseudo-random permutation of ``range(size)``, computed entry by entry.

    A Feistel network permutes the numbers of an even count of bits; a result
    outside the range is fed in again until it falls inside (cycle walking:
    Black and Rogaway, "Ciphers with Arbitrary Finite Domains", 2002).

    Args:
        size: How many numbers are permuted.
        key: 8 bytes for each of the ``ROUNDS`` rounds.
    """

    def __init__(self, size: int, key: bytes) -> None:
        self._size = np.uint64(size)
        self._half = np.uint64(max(1, ((size - 1).bit_length() + 1) // 2))
        self._mask = (np.uint64(1) << self._half) - np.uint64(1)
        self._keys = np.frombuffer(key, "<u8")

    def __call__(self, indices: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
        """Return the image of each index; all must be below ``size``."""
        result = self._encrypt(indices)
        while (outside := result >= self._size).any():
            result[outside] = self._encrypt(result[outside])
        return result

    def _encrypt(self, values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
        left, right = values >> self._half, values & self._mask
        for key in self._keys:
            left, right = right, left ^ (_mix(right ^ key) & self._mask)
        return (left << self._half) | right


def _mix(x: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Scatter the bits of each number (the finalizer of splitmix64)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
