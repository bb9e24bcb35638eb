"""Weight matrices as small grids of cells, in which a picture shows them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

_CELLS = 2400  # of a whole model; what a screen can show and a browser can colour in a frame
_SMALLEST, _LARGEST = 2, 16  # rows and columns of one matrix's grid
_SAMPLES = 512  # rows and columns of a matrix that are looked at, evenly spaced


def grid_side(shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Return how many rows and columns the grid of each matrix of a model has."""
    matrices = sum(len(shape) == 2 for shape in shapes.values())
    return max(_SMALLEST, min(_LARGEST, math.isqrt(_CELLS // max(matrices, 1))))


def sampled(matrix: NDArray[Any]) -> NDArray[Any]:
    """Return at most 512 rows and 512 columns of a matrix, evenly spaced; a view."""
    rows, columns = (-(-size // _SAMPLES) for size in matrix.shape)
    return matrix[::rows, ::columns]


def mean_sizes(matrix: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """Return the mean absolute value in each cell of a matrix's grid, at most (side, side)."""
    sizes: NDArray[np.float32] = np.abs(sampled(matrix))
    for axis in (0, 1):
        count = sizes.shape[axis]
        parts = min(side, count)
        starts = np.arange(parts) * count // parts
        lengths = np.diff(np.append(starts, count))
        sums = np.add.reduceat(sizes, starts, axis=axis)
        sizes = (sums / (lengths[:, None] if axis == 0 else lengths)).astype(np.float32)
    return sizes
