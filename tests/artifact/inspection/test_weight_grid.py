from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingot.artifact.inspection.weight_grid import grid_side, mean_sizes, sampled

SIZES = st.integers(1, 1500)


@given(SIZES, SIZES, st.integers(2, 16))
def test_any_matrix_has_a_grid(rows: int, columns: int, side: int) -> None:
    matrix = np.full((rows, columns), -0.5, np.float32)
    cells = mean_sizes(matrix, side)
    assert cells.shape == (
        min(side, sampled(matrix).shape[0]),
        min(side, sampled(matrix).shape[1]),
    )
    assert cells == pytest.approx(0.5)
    assert max(sampled(matrix).shape) <= 512


def test_a_cell_is_the_mean_of_its_part() -> None:
    matrix = np.zeros((4, 6), np.float32)
    matrix[2:, :3] = -3
    matrix[0, 5] = 6
    assert mean_sizes(matrix, 2).tolist() == [[0, 1], [3, 0]]


def test_models_of_many_matrices_have_coarser_grids() -> None:
    few = {f"{index}": (10, 10) for index in range(8)}
    many = {f"{index}": (10, 10) for index in range(600)}
    assert grid_side(few | {"norm": (10,)}) == 16
    assert grid_side(many) == 2
