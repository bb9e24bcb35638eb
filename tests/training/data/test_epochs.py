from __future__ import annotations

import numpy as np
import pytest

from ingot.errors import CorpusError
from ingot.training.data.epochs import Epochs, fingerprint, shuffled


def walk(seed: int = 3) -> Epochs[int]:
    return Epochs(lambda epoch: shuffled(10, seed, epoch).tolist(), {"data": 5, "seed": seed})


def test_each_epoch_has_every_item_once_in_an_order_of_its_own() -> None:
    items = walk().take(30)
    epochs = [items[:10], items[10:20], items[20:]]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert walk().take(30) == items
    assert walk(seed=4).take(30) != items


def test_sizes_of_batches_change_nothing() -> None:
    whole, parts = walk(), walk()
    assert whole.take(47) == [item for size in (1, 25, 21) for item in parts.take(size)]
    assert whole.epoch == parts.epoch == pytest.approx(4.7)


def test_it_continues_where_a_state_was_taken() -> None:
    first = walk()
    for taken in (3, 7, 10, 14):
        first.take(taken)
        second = walk()
        second.restore(first.state())
        assert second.epoch == first.epoch
        assert second.take(25) == walk_on(first, 25)


def walk_on(walked: Epochs[int], count: int) -> list[int]:
    copy = walk()
    copy.restore(walked.state())
    return copy.take(count)


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"epoch": 0, "position": 11, "data": 5, "seed": 3},
        {"epoch": -1, "position": 0, "data": 5, "seed": 3},
        {"epoch": 0, "position": True, "data": 5, "seed": 3},
        {"epoch": 0, "position": 0, "data": 5, "seed": 3, "more": 1},
    ],
)
def test_a_malformed_state_is_refused(state: dict[str, int]) -> None:
    with pytest.raises(CorpusError, match="is not a state of this task"):
        walk().restore(state)


def test_another_runs_state_is_refused_with_the_difference() -> None:
    with pytest.raises(CorpusError, match="started with seed 4, now it is 3"):
        walk().restore(walk(seed=4).state())


def test_a_fingerprint_tells_data_apart() -> None:
    first, second = np.arange(5, dtype=np.int32), np.array([True, False])
    assert fingerprint(first, second) == fingerprint(first.copy(), second.copy())
    assert fingerprint(first, second) != fingerprint(first, ~second)
    assert fingerprint(first) != fingerprint(first[::-1])
