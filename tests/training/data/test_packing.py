from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ingot.training.data.packing import pack


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 50), min_size=1, max_size=300), st.randoms())
def test_every_example_is_in_one_window_and_none_overflows(sizes: list[int], random) -> None:  # type: ignore[no-untyped-def]
    order = list(range(len(sizes)))
    random.shuffle(order)
    sequences = pack(np.array(sizes), np.array(order), 50)
    assert sorted(example for sequence in sequences for example in sequence) == sorted(order)
    filled = [sum(sizes[example] for example in sequence) for sequence in sequences]
    assert max(filled) <= 50
    # No sequence but one can be half empty as long as all are looked at.
    if len(sequences) <= 64:
        assert sum(fill <= 25 for fill in filled) <= 1


def test_examples_keep_their_order_within_a_window() -> None:
    assert pack(np.array([3, 8, 3, 3]), np.array([2, 1, 3, 0]), 10) == [[2, 3, 0], [1]]


def test_sequences_are_well_filled() -> None:
    lengths = np.random.default_rng(1).integers(20, 400, 2000)
    sequences = pack(lengths, np.arange(2000), 512)
    assert lengths.sum() / (512 * len(sequences)) > 0.95
