from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingot.corpus import PrefetchingSampler, Sampler, Shard, TokenStore
from ingot.errors import CorpusError

MakeStore = Callable[..., TokenStore]


def make_sampler(store: TokenStore, batch: int = 3) -> Sampler:
    return Sampler(store, context=5, batch=batch, seed=1)


@pytest.fixture
def store(make_store: MakeStore) -> TokenStore:
    return make_store([list(range(500)), list(range(400))])


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    assert not [thread for thread in threading.enumerate() if thread.name == "prefetch"]


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    before=st.integers(0, 130),
    depth=st.integers(1, 5),
    pause=st.sampled_from([0.0, 0.002]),
)
def test_batches_states_and_epochs_are_those_of_the_sampler(
    store: TokenStore, before: int, depth: int, pause: float
) -> None:
    plain = make_sampler(store)
    with PrefetchingSampler(make_sampler(store), depth=depth) as ahead:
        for number in range(before):
            assert np.array_equal(ahead.next_batch(), plain.next_batch())
            if number % 40 == 0:
                time.sleep(pause)  # lets the thread run as far ahead as it may
        assert ahead.state() == plain.state()
        assert ahead.epoch == plain.epoch
        state = ahead.state()
    with PrefetchingSampler(make_sampler(store), depth=depth) as resumed:
        resumed.next_batch()
        resumed.restore(state)
        assert resumed.state() == state
        for _ in range(5):
            assert np.array_equal(resumed.next_batch(), plain.next_batch())


def test_a_state_that_does_not_fit_changes_nothing(store: TokenStore) -> None:
    plain = make_sampler(store)
    with PrefetchingSampler(make_sampler(store)) as ahead:
        assert np.array_equal(ahead.next_batch(), plain.next_batch())
        with pytest.raises(CorpusError, match="the run was started with seed 2"):
            ahead.restore({**ahead.state(), "seed": 2})
        for _ in range(4):
            assert np.array_equal(ahead.next_batch(), plain.next_batch())


def test_an_error_comes_with_the_batch_it_belongs_to_and_stays(make_store: MakeStore) -> None:
    shard = make_store([[*range(490), *[999] * 10]]).shards[0]
    plain = make_sampler(TokenStore([Shard(shard.path)], 500), batch=1)
    good = 0
    with contextlib.suppress(CorpusError):
        while True:
            plain.next_batch()
            good += 1
    with PrefetchingSampler(make_sampler(TokenStore([shard], 500), batch=1)) as ahead:
        for _ in range(good):
            ahead.next_batch()
        state = ahead.state()
        for _ in range(3):
            with pytest.raises(CorpusError, match="outside the vocabulary"):
                ahead.next_batch()
        assert ahead.state() == state


def test_it_draws_no_further_ahead_than_it_may(store: TokenStore) -> None:
    inner = make_sampler(store)
    with PrefetchingSampler(inner, depth=3) as ahead:
        ahead.next_batch()
        most = 1 + 3 + 1  # handed out, in the queue, in the thread's hand
        deadline = time.monotonic() + 300
        while inner.state()["position"] // 3 < most:
            assert time.monotonic() < deadline, "it does not draw ahead"
            time.sleep(0.01)
        time.sleep(0.1)  # in which it would draw another
        assert inner.state()["position"] // 3 == most


def test_waiting_is_measured(store: TokenStore) -> None:
    class Slow(Sampler):
        def next_batch(self) -> np.ndarray:
            time.sleep(0.05)
            return super().next_batch()

    with PrefetchingSampler(Slow(store, context=5, batch=1, seed=0)) as ahead:
        for _ in range(4):
            ahead.next_batch()
        assert ahead.waited > 0.1
        while not ahead._queue.full():
            time.sleep(0.01)
        before = ahead.waited
        ahead.next_batch()
        assert ahead.waited - before < 0.04  # a batch takes 0.05 s to draw


def test_after_closing_there_is_nothing(store: TokenStore) -> None:
    ahead = PrefetchingSampler(make_sampler(store))
    ahead.next_batch()
    state = ahead.state()
    ahead.close()
    ahead.close()
    assert ahead.state() == state
    with pytest.raises(CorpusError, match="was closed"):
        ahead.next_batch()
    with pytest.raises(CorpusError, match="was closed"):
        ahead.restore(state)


def test_a_depth_below_one_is_refused(store: TokenStore) -> None:
    with pytest.raises(ValueError, match="a depth of 0"):
        PrefetchingSampler(make_sampler(store), depth=0)
