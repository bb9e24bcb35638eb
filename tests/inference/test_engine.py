from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingot.errors import ServeError, UsageError
from ingot.inference import (
    Delta,
    Engine,
    EngineConfig,
    QueueFull,
    SamplingParams,
    Sequence,
)
from ingot.model import Tokenizer

PARAMS = SamplingParams(max_tokens=20, seed=3, ignore_eos=True)


def run(engine: Engine) -> None:
    while engine.has_work:
        assert engine.step()
        engine.check_integrity()
    stats = engine.stats()
    assert stats.blocks_free == stats.blocks_total
    assert not engine.step(), "nothing is left to do"


def test_an_answer_is_the_executors(make_engine: Any, expected: Any, receiver: Any) -> None:
    engine, _ = make_engine()
    sequence = engine.add([5, 6, 7], PARAMS, receiver)
    run(engine)
    assert receiver.token_ids == sequence.output_ids == expected([5, 6, 7], PARAMS)
    assert receiver.reason == "length"
    assert engine.stats().generated_tokens == 20


requests = st.lists(
    st.tuples(
        st.lists(st.integers(0, 250), min_size=1, max_size=40),
        st.integers(1, 30),  # max_tokens
        st.integers(0, 25),  # the step before which it arrives
        st.one_of(st.none(), st.integers(0, 30)),  # the step before which it is cancelled
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=60, deadline=None)
@given(requests, st.integers(18, 40), st.integers(4, 40))
def test_any_mix_on_any_cache_gives_the_same_answers(
    make_engine: Any,
    expected: Any,
    make_receiver: Any,
    requests: list[tuple[list[int], int, int, int | None]],
    blocks: int,
    budget: int,
) -> None:
    engine, executor = make_engine(blocks, 4, max_step_tokens=budget, max_sequences=4)
    receivers = [make_receiver() for _ in requests]
    live: dict[int, Sequence] = {}
    clock = 0
    while clock <= 30 or engine.has_work:
        for number, (prompt, most, arrives, leaves) in enumerate(requests):
            if arrives == clock:
                params = SamplingParams(max_tokens=most, seed=number)
                live[number] = engine.add(prompt, params, receivers[number])
            if leaves == clock and number in live:
                engine.cancel(live[number])
        engine.step()
        engine.check_integrity()
        clock += 1
        assert clock < 2000, "no progress"
    assert engine.stats().blocks_free == blocks
    assert max(map(sum, executor.steps), default=0) <= budget
    for number, (prompt, most, _, _) in enumerate(requests):
        wanted = expected(prompt, SamplingParams(max_tokens=most, seed=number))
        got = receivers[number]
        if got.reason == "cancelled":
            assert got.token_ids == wanted[: len(got.token_ids)]
        else:
            assert got.token_ids == wanted
            assert got.reason == ("length" if len(wanted) == most else "stop")


def test_a_preempted_answer_is_the_same(
    make_engine: Any, expected: Any, make_receiver: Any
) -> None:
    engine, executor = make_engine(12, 4)
    params = SamplingParams(max_tokens=30, seed=1, ignore_eos=True)
    receivers = {start: make_receiver() for start in range(5)}
    for start, receiver in receivers.items():
        engine.add([start, 9], params, receiver)
    run(engine)
    prefills = sum(count > 1 for step in executor.steps for count in step)
    assert prefills > 5, "the cache was too large for this test"
    for start, receiver in receivers.items():
        assert receiver.token_ids == expected([start, 9], params)


def test_the_end_of_text_ends_an_answer(
    make_engine: Any, expected: Any, make_receiver: Any, tokenizer: Tokenizer
) -> None:
    engine, _ = make_engine()
    prompt, params = [5, 6], SamplingParams(max_tokens=100, seed=0)
    for seed in range(2000):
        params = SamplingParams(max_tokens=100, seed=seed)
        if 0 < len(expected(prompt, params)) < 20:
            break
    ending, going_on = make_receiver(), make_receiver()
    engine.add(prompt, params, ending)
    beyond = SamplingParams(max_tokens=100, seed=params.seed, ignore_eos=True)
    engine.add(prompt, beyond, going_on)
    run(engine)
    wanted = expected(prompt, params)
    assert (ending.reason, ending.token_ids) == ("stop", wanted)
    assert going_on.reason == "length"
    assert going_on.token_ids[: len(wanted) + 1] == [*wanted, tokenizer.eos_id]
    assert len(going_on.token_ids) == 100


def test_a_stop_text_ends_an_answer_and_is_not_part_of_it(
    make_engine: Any, expected: Any, receiver: Any, tokenizer: Tokenizer
) -> None:
    engine, _ = make_engine()
    whole = tokenizer.decode(expected([5], PARAMS))
    stop = whole[5:9]
    engine.add([5], SamplingParams(max_tokens=20, seed=3, ignore_eos=True, stop=(stop,)), receiver)
    run(engine)
    assert receiver.reason == "stop"
    assert receiver.text == whole[: whole.index(stop)]
    assert len(receiver.token_ids) < 20


def test_all_the_text_is_said_in_the_end(
    make_engine: Any, expected: Any, receiver: Any, tokenizer: Tokenizer
) -> None:
    engine, _ = make_engine()
    whole = tokenizer.decode(expected([5], PARAMS))
    stop = whole[-1] + "never"  # holds back the last character until the end
    engine.add([5], SamplingParams(max_tokens=20, seed=3, ignore_eos=True, stop=(stop,)), receiver)
    run(engine)
    assert (receiver.text, receiver.reason) == (whole, "length")


def test_a_full_context_ends_an_answer(make_engine: Any, receiver: Any) -> None:
    engine, _ = make_engine(max_context=10)
    sequence = engine.add([1] * 8, PARAMS, receiver)
    run(engine)
    assert receiver.reason == "length"
    assert sequence.length == 10


def test_a_seed_is_drawn_where_none_is_given(make_engine: Any, make_receiver: Any) -> None:
    engine, _ = make_engine()
    params = SamplingParams(max_tokens=12)
    first, second = (engine.add([1], params, make_receiver()) for _ in range(2))
    assert first.seed != second.seed


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ([], "prompt: is empty"),
        ([1] * 10, "has 10 tokens, and the context of 10 "),
        ([1] * 11, "has 11 tokens, and the context of 10 "),
        ([-1], "-1 is not a token id"),
        ([1, 300], "300 is not a token id; give whole numbers from 0 to"),
        ([10**400], "is not a token id"),
        ([True], "True is not a token id"),
        ([1.0], r"1\.0 is not a token id"),
        (["a"], "a is not a token id"),
    ],
)
def test_a_bad_prompt_is_refused(
    make_engine: Any, receiver: Any, prompt: list[Any], message: str
) -> None:
    engine, _ = make_engine(max_context=10)
    with pytest.raises(UsageError, match=message):
        engine.add(prompt, PARAMS, receiver)
    assert not engine.has_work


def test_bad_parameters_are_refused(make_engine: Any, receiver: Any) -> None:
    engine, _ = make_engine()
    with pytest.raises(UsageError, match="temperature"):
        engine.add([1], SamplingParams(temperature=-1), receiver)


def test_what_could_never_fit_is_refused(make_engine: Any, receiver: Any) -> None:
    engine, _ = make_engine(2, 4)
    with pytest.raises(UsageError, match="need 3 cache blocks"):
        engine.add([1], SamplingParams(max_tokens=9), receiver)
    engine.add([1], SamplingParams(max_tokens=8, ignore_eos=True), receiver)
    run(engine)
    assert len(receiver.token_ids) == 8


def test_a_full_queue_refuses(make_engine: Any, receiver: Any) -> None:
    engine, _ = make_engine(max_waiting=2)
    engine.add([1], PARAMS, receiver)
    engine.add([1], PARAMS, receiver)
    with pytest.raises(QueueFull, match="2 sequences wait already"):
        engine.add([1], PARAMS, receiver)


def test_cancelling_frees_the_blocks_before_the_next_step(
    make_engine: Any, make_receiver: Any
) -> None:
    engine, executor = make_engine(max_sequences=1)
    running, waiting = make_receiver(), make_receiver()
    sequences = [engine.add([1, 2], PARAMS, one) for one in (running, waiting)]
    engine.step()
    for sequence in sequences:
        engine.cancel(sequence)
        engine.cancel(sequence)
    assert engine.step()
    assert len(executor.steps) == 1, "neither ran again"
    assert (running.reason, waiting.reason) == ("cancelled", "cancelled")
    assert engine.stats().blocks_free == engine.stats().blocks_total
    engine.cancel(sequences[0])
    assert not engine.step()


def test_cancelling_from_within_a_receiver(make_engine: Any) -> None:
    engine, _ = make_engine()
    said: list[Delta] = []

    def cancel(delta: Delta) -> None:
        said.append(delta)
        engine.cancel(sequence)

    sequence = engine.add([1], PARAMS, cancel)
    run(engine)
    assert [delta.finish_reason for delta in said] == [None, "cancelled"]


def test_a_deadline_ends_running_and_waiting_sequences(
    make_engine: Any, make_receiver: Any
) -> None:
    engine, _ = make_engine(max_sequences=1)
    past, later = time.monotonic(), time.monotonic() + 1000
    receivers = [make_receiver() for _ in range(3)]
    for receiver, deadline in zip(receivers, (later, past, None), strict=True):
        engine.add([1], PARAMS, receiver, deadline)
    run(engine)
    assert [receiver.reason for receiver in receivers] == ["length", "deadline", "length"]


def test_a_receiver_that_raises_harms_no_other(
    make_engine: Any, expected: Any, receiver: Any
) -> None:
    engine, _ = make_engine()
    said: list[Delta] = []

    def broken(delta: Delta) -> None:
        said.append(delta)
        raise RuntimeError("no more")

    engine.add([1], PARAMS, broken)
    engine.add([2], PARAMS, receiver)
    run(engine)
    assert [delta.finish_reason for delta in said] == [None, "cancelled"]
    assert receiver.token_ids == expected([2], PARAMS)


def test_abort_ends_everything_for_good(make_engine: Any, make_receiver: Any) -> None:
    engine, _ = make_engine(max_sequences=1)
    receivers = [make_receiver(), make_receiver()]
    for receiver in receivers:
        engine.add([1], PARAMS, receiver)
    engine.step()
    engine.abort("the sky fell")
    for receiver in receivers:
        last = receiver.deltas[-1]
        assert (last.finish_reason, last.error) == ("error", "the sky fell")
    assert engine.stats().failed == "the sky fell"
    engine.check_integrity()
    with pytest.raises(ServeError, match=r"has failed \(the sky fell\)"):
        engine.add([1], PARAMS, receivers[0])


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"max_sequences": 17, "max_step_tokens": 16}, "max_sequences: 17 .* 16 tokens"),
        ({"max_context": 129}, "max_context: 129 is longer than the model's 128"),
    ],
)
def test_limits_that_contradict_are_refused(
    make_engine: Any, limits: dict[str, int], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        make_engine(**limits)


def test_a_cache_other_than_the_executors_is_refused(
    make_engine: Callable[..., Any], tokenizer: Tokenizer
) -> None:
    _, executor = make_engine(8, 4)
    for config in (EngineConfig(block_size=8), EngineConfig(block_size=4, num_blocks=9)):
        with pytest.raises(UsageError, match="is not the executor's"):
            Engine(executor, tokenizer, config)
