"""Short examples put together into sequences."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_OPEN = 64


def pack(lengths: NDArray[np.int64], order: NDArray[np.int64], capacity: int) -> list[list[int]]:
    """Put examples into as few sequences as a quick method finds.

    Each example, in order, goes into the first of the last 64 sequences with room for it.

    Args:
        lengths: Tokens of each example; none is longer than ``capacity``.
        order: The examples' numbers in the order to take them.
        capacity: Tokens in a sequence.

    Returns:
        The numbers of the examples in each sequence.
    """
    sequences: list[list[int]] = []
    room = np.zeros(_OPEN, dtype=np.int64)  # in sequence w at w % _OPEN, once it exists
    for example, length in zip(order.tolist(), lengths[order].tolist(), strict=True):
        fits = np.flatnonzero(room >= length)
        if len(fits):
            first = len(sequences) - _OPEN  # of the sequences looked at; negative where fewer exist
            sequence = min(first + (slot - first) % _OPEN for slot in fits.tolist())
            sequences[sequence].append(example)
        else:
            sequence = len(sequences)
            sequences.append([example])
            room[sequence % _OPEN] = capacity
        room[sequence % _OPEN] -= length
    return sequences
