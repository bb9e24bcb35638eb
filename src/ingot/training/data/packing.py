"""Short examples put together into windows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_OPEN = 64


def pack(lengths: NDArray[np.int64], order: NDArray[np.int64], capacity: int) -> list[list[int]]:
    """Put examples into as few windows as a quick method finds.

    Each example, in order, goes into the first of the last 64 windows with room for it.

    Args:
        lengths: Tokens of each example; none is longer than ``capacity``.
        order: The examples' numbers in the order to take them.
        capacity: Tokens in a window.

    Returns:
        The numbers of the examples in each window.
    """
    windows: list[list[int]] = []
    room = np.zeros(_OPEN, dtype=np.int64)  # in window w at w % _OPEN, once it exists
    for example, length in zip(order.tolist(), lengths[order].tolist(), strict=True):
        fits = np.flatnonzero(room >= length)
        if len(fits):
            first = len(windows) - _OPEN  # of the windows looked at; negative where fewer exist
            window = min(first + (slot - first) % _OPEN for slot in fits.tolist())
            windows[window].append(example)
        else:
            window = len(windows)
            windows.append([example])
            room[window % _OPEN] = capacity
        room[window % _OPEN] -= length
    return windows
