from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingot.corpus import Sampler, Shard, TokenStore
from ingot.corpus.sampling.permutation import Permutation
from ingot.corpus.store.shards import ShardWriter
from ingot.errors import CorpusError

KEY = bytes(range(48))


@pytest.fixture(scope="module")
def counting(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], TokenStore]:
    """A stream whose tokens are 0, 1, 2 ..., so a window shows where it starts."""
    folder = tmp_path_factory.mktemp("shards")

    def make(tokens: int) -> TokenStore:
        path = folder / f"{tokens}.tokens"
        if not path.exists():
            writer = ShardWriter(path, 1 << 20)
            writer.append(np.arange(tokens))
            writer.finish()
        return TokenStore([Shard(path)], 1 << 20)

    return make


@settings(max_examples=60, deadline=None)
@given(size=st.integers(1, 5000), key=st.binary(min_size=48, max_size=48))
def test_a_permutation_visits_everything_once(size: int, key: bytes) -> None:
    order = Permutation(size, key)(np.arange(size, dtype=np.uint64))
    assert np.array_equal(np.sort(order), np.arange(size, dtype=np.uint64))


@pytest.mark.parametrize("size", [1 << 33, (1 << 40) + 1])
def test_a_permutation_needs_no_memory_for_its_size(size: int) -> None:
    indices = np.arange(size - 1000, size, dtype=np.uint64)
    order = Permutation(size, KEY)(indices)
    assert len(set(order.tolist())) == 1000
    assert max(order.tolist()) < size


def test_a_permutation_looks_random() -> None:
    size = 20_000
    order = Permutation(size, KEY)(np.arange(size, dtype=np.uint64)).astype(np.float64)
    assert abs(np.corrcoef(order, np.arange(size))[0, 1]) < 0.03
    assert abs(np.corrcoef(order[1:], order[:-1])[0, 1]) < 0.03


@settings(max_examples=40, deadline=None)
@given(
    tokens=st.integers(9, 9000),
    context=st.integers(1, 8),
    batch=st.integers(1, 7),
    seed=st.integers(0, 2**63 - 1),
)
def test_each_epoch_visits_each_window_once(
    counting: Callable[[int], TokenStore], tokens: int, context: int, batch: int, seed: int
) -> None:
    sampler = Sampler(counting(tokens), context=context, batch=batch, seed=seed)
    starts: list[int] = []
    while sampler.epoch < 2:
        windows = sampler.next_batch()
        assert windows.shape == (batch, context + 1)
        assert windows.dtype == np.int64
        assert np.array_equal(windows, windows[:, :1] + np.arange(context + 1))
        starts += windows[:, 0].tolist()
    for _ in range(2):
        expected = range(starts[0] % context, tokens - context, context)
        epoch, starts = starts[: len(expected)], starts[len(expected) :]
        assert sorted(epoch) == list(expected)


def test_epochs_differ_in_offset_and_order(counting: Callable[[int], TokenStore]) -> None:
    sampler = Sampler(counting(5000), context=50, batch=1, seed=1)
    epochs: list[list[int]] = []
    for number in range(4):
        epochs.append([])
        while sampler.epoch < number + 1:
            epochs[-1].append(int(sampler.next_batch()[0, 0]))
    assert len({epoch[0] % 50 for epoch in epochs}) > 1
    assert len({tuple(start // 50 for start in epoch[:20]) for epoch in epochs}) == 4


def test_seeds_differ_and_repeat(counting: Callable[[int], TokenStore]) -> None:
    def first(seed: int) -> list[list[int]]:
        return Sampler(counting(5000), context=10, batch=8, seed=seed).next_batch().tolist()

    assert first(1) == first(1)
    assert first(1) != first(2)


@settings(max_examples=40, deadline=None)
@given(
    tokens=st.integers(20, 20_000),
    before=st.integers(0, 40),
    batch=st.integers(1, 90),
    seed=st.integers(0, 1000),
)
def test_any_stop_continues_with_the_same_stream(
    counting: Callable[[int], TokenStore], tokens: int, before: int, batch: int, seed: int
) -> None:
    store = counting(tokens)
    sampler = Sampler(store, context=5, batch=batch, seed=seed)
    for _ in range(before):
        sampler.next_batch()
    state = sampler.state()
    assert all(type(value) is int for value in state.values())
    resumed = Sampler(store, context=5, batch=batch, seed=seed)
    resumed.next_batch()
    resumed.restore(state)
    assert resumed.state() == state
    for _ in range(5):
        assert np.array_equal(resumed.next_batch(), sampler.next_batch())


def test_the_stream_does_not_depend_on_the_batch_size(
    counting: Callable[[int], TokenStore],
) -> None:
    ones = Sampler(counting(900), context=5, batch=1, seed=3)
    many = Sampler(counting(900), context=5, batch=400, seed=3)
    alone = np.concatenate([ones.next_batch() for _ in range(400)])
    assert np.array_equal(alone, many.next_batch())


def test_a_store_shorter_than_one_window_says_what_to_do(
    counting: Callable[[int], TokenStore],
) -> None:
    with pytest.raises(
        CorpusError, match=r"has 100 tokens.*needs 101; add text, or .* --set batch\.context=99"
    ):
        Sampler(counting(100), context=100, batch=1, seed=0)
    assert Sampler(counting(101), context=100, batch=2, seed=0).next_batch().shape == (2, 101)


def test_a_hint_can_be_followed(counting: Callable[[int], TokenStore]) -> None:
    """FAULTS D10: "lower the context below 7" where 8 is the least."""
    with pytest.raises(CorpusError, match="add text: the shortest window, of context 8, is"):
        Sampler(counting(8), context=16, batch=1, seed=0)
    with pytest.raises(CorpusError, match=r"--set batch\.context=8$"):
        Sampler(counting(9), context=16, batch=1, seed=0)


@pytest.mark.parametrize(
    "change",
    [
        {"position": "1"},
        {"tokens": 901},
        {"context": 6},
        {"seed": 4},
        {"epoch": -1},
        {"position": 10**6},
        {"x": 1},
    ],
)
def test_a_state_that_does_not_fit_is_refused(
    counting: Callable[[int], TokenStore], change: dict[str, Any]
) -> None:
    sampler = Sampler(counting(900), context=5, batch=2, seed=3)
    with pytest.raises(CorpusError, match=r"sampler: "):
        sampler.restore({**sampler.state(), **change})


def test_windows_cross_shards(tmp_path: Path) -> None:
    shards = []
    for number in range(3):
        writer = ShardWriter(tmp_path / f"{number}.tokens", 1000)
        writer.append(np.arange(number * 10, number * 10 + 10))
        writer.finish()
        shards.append(Shard(writer.path))
    windows = Sampler(TokenStore(shards, 1000), context=7, batch=12, seed=0).next_batch()
    assert np.array_equal(windows, windows[:, :1] + np.arange(8))
