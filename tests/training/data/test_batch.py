from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingot.errors import RecipeError
from ingot.training.data.batch import Batch


class Pairs(Batch):
    ROWS_PER_UNIT = 2


def batch_of(rows: int, kind: type[Batch] = Batch) -> Batch:
    ids = np.arange(rows * 5, dtype=np.int64).reshape(rows, 5)
    return kind(ids, ids[:, 1:] % 3 == 0, (ids[:, 1:] // 2).astype(np.int32))


def test_every_prediction_counts_without_a_mask() -> None:
    assert Batch(np.zeros((3, 9), np.int64), None, None).weight == 24


def test_only_masked_predictions_count() -> None:
    mask = np.array([[True, False, False], [True, True, False]])
    assert Batch(np.zeros((2, 4), np.int64), mask, None).weight == 3


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.data(), st.sampled_from([Batch, Pairs]))
def test_parts_are_the_rows_in_order_and_nearly_equal(
    units: int, data: st.DataObject, kind: type[Batch]
) -> None:
    unit = kind.ROWS_PER_UNIT
    batch = batch_of(units * unit, kind)
    parts = batch.split(data.draw(st.integers(1, units)))
    assert all(type(part) is kind for part in parts)
    for name in ("ids", "mask", "segments"):
        joined = np.concatenate([getattr(part, name) for part in parts])
        np.testing.assert_array_equal(joined, getattr(batch, name))
    sizes = [len(part.ids) for part in parts]
    assert all(size % unit == 0 for size in sizes)
    assert max(sizes) - min(sizes) <= unit
    assert sum(part.weight for part in parts) == batch.weight


def test_absent_arrays_stay_absent() -> None:
    (part, _) = Batch(np.zeros((2, 4), np.int64), None, None).split(2)
    assert part.mask is None
    assert part.segments is None


@pytest.mark.parametrize("parts", [0, 4])
def test_more_parts_than_units_are_refused(parts: int) -> None:
    with pytest.raises(RecipeError, match="3 sequences, too few for"):
        batch_of(6, Pairs).split(parts)
