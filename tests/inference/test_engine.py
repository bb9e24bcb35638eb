from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingot.errors import ServeError, UsageError
from ingot.inference import (
    Engine,
    EngineConfig,
    OutputDelta,
    QueueFull,
    RequestOptions,
    SamplingParams,
    Sequence,
)
from ingot.inference.executors.base import Failure, ModelInput
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
    sequence = engine.submit([5, 6, 7], PARAMS, receiver)
    run(engine)
    assert receiver.token_ids == sequence.output_ids == expected([5, 6, 7], PARAMS)
    assert receiver.reason == "length"
    assert engine.stats().generated_tokens == 20


@dataclass(frozen=True)
class Asked:
    prompt: list[int]
    max_tokens: int
    arrives: int  # the step before which it is added
    leaves: int | None  # the step before which it is cancelled
    priority: int
    tenant: str
    salt: str
    background: bool


# Prompts begin alike, so that prefixes are shared.
prompts = st.builds(
    lambda shared, own: [*range(7, 7 + shared), *own],
    st.sampled_from([0, 4, 9, 24]),
    st.lists(st.integers(0, 3), min_size=1, max_size=12),
)
requests = st.lists(
    st.builds(
        Asked,
        prompts,
        st.integers(1, 30),
        st.integers(0, 25),
        st.one_of(st.none(), st.integers(0, 30)),
        st.integers(0, 2),
        st.sampled_from(["", "a", "b"]),
        st.sampled_from(["", "", "salt"]),
        st.booleans(),
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=120, deadline=None)
@given(
    requests,
    st.integers(18, 40),
    st.integers(4, 40),
    st.booleans(),
    st.sampled_from([0, 0, 1, 5]),
    st.sampled_from([2, 3, 300]),
    st.integers(2, 9),
)
def test_any_mix_on_any_cache_gives_the_same_answers(  # noqa: PLR0917
    make_engine: Any,
    expected: Any,
    make_receiver: Any,
    requests: list[Asked],
    blocks: int,
    budget: int,
    reuse: bool,
    speculation: int,
    vocabulary: int,
    interrupts: int,
) -> None:
    engine, executor = make_engine(
        blocks,
        4,
        vocabulary,
        max_step_tokens=budget,
        max_sequences=4,
        prefix_cache=reuse,
        speculation=speculation,
    )
    receivers = [make_receiver() for _ in requests]
    live: dict[int, Sequence] = {}
    clock = 0
    while clock <= 30 or engine.has_work:
        for number, asked in enumerate(requests):
            if asked.arrives == clock:
                live[number] = engine.submit(
                    asked.prompt,
                    SamplingParams(max_tokens=asked.max_tokens, seed=number % 3),
                    receivers[number],
                    RequestOptions(
                        priority=asked.priority,
                        tenant=asked.tenant,
                        cache_salt=asked.salt,
                        background=asked.background,
                    ),
                )
            if asked.leaves == clock and number in live:
                engine.cancel(live[number])
        executor.interrupted = clock % interrupts == 0
        engine.step()
        engine.check_integrity()
        clock += 1
        assert clock < 2000, "no progress"
    stats = engine.stats()
    assert (stats.blocks_free, stats.waiting_tokens) == (blocks, 0)
    assert max(map(sum, executor.steps), default=0) <= budget
    assert 0 <= stats.accepted_tokens <= stats.drafted_tokens
    assert stats.generated_tokens >= sum(len(one.token_ids) for one in receivers)
    for number, asked in enumerate(requests):
        params = SamplingParams(max_tokens=asked.max_tokens, seed=number % 3)
        wanted, got = expected(asked.prompt, params, vocabulary), receivers[number]
        if got.reason == "cancelled":
            assert got.token_ids == wanted[: len(got.token_ids)]
        else:
            assert got.token_ids == wanted
            assert got.reason == ("length" if len(wanted) == asked.max_tokens else "stop")


def test_a_preempted_answer_is_the_same(
    make_engine: Any, expected: Any, make_receiver: Any
) -> None:
    engine, executor = make_engine(12, 4, prefix_cache=False)
    params = SamplingParams(max_tokens=30, seed=1, ignore_eos=True)
    receivers = {start: make_receiver() for start in range(5)}
    for start, receiver in receivers.items():
        engine.submit([start, 9], params, receiver)
    run(engine)
    prefills = sum(count > 1 for step in executor.steps for count in step)
    assert prefills > 5, "the cache was too large for this test"
    assert engine.stats().preemptions == prefills - 5
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
    engine.submit(prompt, params, ending)
    beyond = SamplingParams(max_tokens=100, seed=params.seed, ignore_eos=True)
    engine.submit(prompt, beyond, going_on)
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
    engine.submit(
        [5], SamplingParams(max_tokens=20, seed=3, ignore_eos=True, stop=(stop,)), receiver
    )
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
    engine.submit(
        [5], SamplingParams(max_tokens=20, seed=3, ignore_eos=True, stop=(stop,)), receiver
    )
    run(engine)
    assert (receiver.text, receiver.reason) == (whole, "length")


def test_a_full_context_ends_an_answer(make_engine: Any, receiver: Any) -> None:
    engine, _ = make_engine(max_context=10)
    sequence = engine.submit([1] * 8, PARAMS, receiver)
    run(engine)
    assert receiver.reason == "length"
    assert sequence.length == 10


def test_a_seed_is_drawn_where_none_is_given(make_engine: Any, make_receiver: Any) -> None:
    engine, _ = make_engine()
    params = SamplingParams(max_tokens=12)
    first, second = (engine.submit([1], params, make_receiver()) for _ in range(2))
    assert first.seed != second.seed


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ([], "prompt: is empty"),
        ([1] * 10, "has 10 tokens, but the context holds 10 "),
        ([1] * 11, "has 11 tokens, but the context holds 10 "),
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
        engine.submit(prompt, PARAMS, receiver)
    assert not engine.has_work


def test_what_could_never_fit_is_refused(make_engine: Any, receiver: Any) -> None:
    engine, _ = make_engine(2, 4)
    with pytest.raises(UsageError, match="need 3 cache blocks"):
        engine.submit([1], SamplingParams(max_tokens=9), receiver)
    engine.submit([1], SamplingParams(max_tokens=8, ignore_eos=True), receiver)
    run(engine)
    assert len(receiver.token_ids) == 8


def test_a_full_queue_refuses(make_engine: Any, receiver: Any) -> None:
    engine, _ = make_engine(max_waiting=2)
    engine.submit([1], PARAMS, receiver)
    engine.submit([1], PARAMS, receiver)
    with pytest.raises(QueueFull, match="2 sequences wait already"):
        engine.submit([1], PARAMS, receiver)


def test_cancelling_frees_the_blocks_before_the_next_step(
    make_engine: Any, make_receiver: Any
) -> None:
    engine, executor = make_engine(max_sequences=1)
    running, waiting = make_receiver(), make_receiver()
    sequences = [engine.submit([1, 2], PARAMS, one) for one in (running, waiting)]
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
    said: list[OutputDelta] = []

    def cancel(delta: OutputDelta) -> None:
        said.append(delta)
        engine.cancel(sequence)

    sequence = engine.submit([1], PARAMS, cancel)
    run(engine)
    assert [delta.finish_reason for delta in said] == [None, "cancelled"]


def test_a_deadline_ends_running_and_waiting_sequences(
    make_engine: Any, make_receiver: Any
) -> None:
    engine, _ = make_engine(max_sequences=1)
    receivers = [make_receiver() for _ in range(3)]
    for receiver, timeout_s in zip(receivers, (1000.0, 1e-9, None), strict=True):
        engine.submit([1], PARAMS, receiver, RequestOptions(timeout_s=timeout_s))
    run(engine)
    assert [receiver.reason for receiver in receivers] == ["length", "deadline", "length"]


def test_a_receiver_that_raises_harms_no_other(
    make_engine: Any, expected: Any, receiver: Any
) -> None:
    engine, _ = make_engine()
    said: list[OutputDelta] = []

    def broken(delta: OutputDelta) -> None:
        said.append(delta)
        raise RuntimeError("no more")

    engine.submit([1], PARAMS, broken)
    engine.submit([2], PARAMS, receiver)
    run(engine)
    assert [delta.finish_reason for delta in said] == [None, "cancelled"]
    assert receiver.token_ids == expected([2], PARAMS)


def test_abort_ends_everything_for_good(make_engine: Any, make_receiver: Any) -> None:
    engine, _ = make_engine(max_sequences=1)
    receivers = [make_receiver(), make_receiver()]
    for receiver in receivers:
        engine.submit([1], PARAMS, receiver)
    engine.step()
    engine.abort("the sky fell")
    for receiver in receivers:
        last = receiver.deltas[-1]
        assert (last.finish_reason, last.error) == ("error", "the sky fell")
    assert engine.stats().failed == "the sky fell"
    engine.check_integrity()
    with pytest.raises(ServeError, match=r"has failed \(the sky fell\)"):
        engine.submit([1], PARAMS, receivers[0])


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


def test_a_shared_prefix_is_computed_once(
    make_engine: Any, expected: Any, make_receiver: Any
) -> None:
    shared = list(range(40))
    counted = []
    for reuse in (True, False):
        engine, executor = make_engine(200, 4, prefix_cache=reuse, max_step_tokens=64)
        receivers = [make_receiver() for _ in range(6)]
        for number, receiver in enumerate(receivers):
            engine.submit([*shared, number], PARAMS, receiver)
        run(engine)
        for number, receiver in enumerate(receivers):
            assert receiver.token_ids == expected([*shared, number], PARAMS)
        cached = [receiver.deltas[-1].timing.cached_tokens for receiver in receivers]
        assert cached == ([0, 0, 40, 40, 40, 40] if reuse else [0] * 6)
        stats = engine.stats()
        assert stats.cached_tokens == sum(cached)
        assert stats.queried_tokens == 6 * 41
        assert stats.prefill_tokens == 6 * 41 - sum(cached)
        counted.append(sum(map(sum, executor.steps)))
    assert counted[1] - counted[0] == 160


def test_an_answer_can_be_continued_from_the_cache(
    make_engine: Any, expected: Any, make_receiver: Any
) -> None:
    engine, _ = make_engine()
    first, second = make_receiver(), make_receiver()
    engine.submit([5, 6, 7], PARAMS, first)
    run(engine)
    prompt = [5, 6, 7, *first.token_ids, 8]
    engine.submit(prompt, PARAMS, second)
    run(engine)
    assert second.deltas[-1].timing.cached_tokens == 20  # of 22 that were computed
    assert second.token_ids == expected(prompt, PARAMS)


def test_speculation_says_several_tokens_at_once_and_the_same(
    make_engine: Any, expected: Any, make_receiver: Any
) -> None:
    steps = []
    for speculation in (0, 4):
        engine, executor = make_engine(speculation=speculation, vocabulary=2)
        receiver = make_receiver()
        params = SamplingParams(max_tokens=100, seed=3, ignore_eos=True)
        engine.submit([1, 0, 1, 0], params, receiver)
        run(engine)
        assert receiver.token_ids == expected([1, 0, 1, 0], params, 2)
        steps.append(len(executor.steps))
        timing = receiver.deltas[-1].timing
    assert steps[0] == 100
    assert steps[1] == 100 - timing.accepted_tokens
    assert timing.drafted_tokens > timing.accepted_tokens > 10


def test_guesses_stop_where_the_answer_would(make_engine: Any, make_receiver: Any) -> None:
    engine, executor = make_engine(vocabulary=1, speculation=8)
    receiver = make_receiver()
    engine.submit([0] * 8, SamplingParams(max_tokens=6, ignore_eos=True), receiver)
    run(engine)
    assert receiver.token_ids == [0] * 6
    assert sum(map(sum, executor.steps)) == 8 + 5, "no guess past the last token"
    engine.submit([0] * 8, SamplingParams(max_tokens=6), ended := make_receiver())
    engine.step()
    assert executor.steps[-1] == [4], "half of it was cached"
    engine.submit([0] * 5, SamplingParams(max_tokens=6), ended := make_receiver())
    run(engine)
    assert executor.steps[-1] == [1]
    assert (ended.token_ids, ended.reason) == ([], "stop")
    assert ended.deltas[-1].timing.drafted_tokens == 0, "no guess of an end"


def test_speculation_needs_an_executor_that_can(
    make_engine: Any, config: Any, tokenizer: Tokenizer
) -> None:
    _, executor = make_engine()
    executor.features = frozenset()
    with pytest.raises(UsageError, match="speculation: is not supported by this executor"):
        Engine(executor, tokenizer, EngineConfig(num_blocks=64, block_size=4, speculation=1))


def test_a_stop_token_ends_an_answer_and_is_not_part_of_it(
    make_engine: Any, expected: Any, receiver: Any
) -> None:
    engine, _ = make_engine()
    whole = expected([5], PARAMS)
    params = SamplingParams(max_tokens=20, seed=3, ignore_eos=True, stop_token_ids=(whole[7],))
    engine.submit([5], params, receiver)
    run(engine)
    end = whole.index(whole[7])
    assert (receiver.token_ids, receiver.reason) == (whole[:end], "stop")


def test_the_urgent_go_first_and_those_sent_back_lose_nothing(
    make_engine: Any, expected: Any, make_receiver: Any
) -> None:
    engine, _ = make_engine(max_sequences=2)
    low, urgent = [make_receiver() for _ in range(3)], [make_receiver() for _ in range(2)]
    for number, receiver in enumerate(low):
        engine.submit([number], PARAMS, receiver, RequestOptions(priority=1))
    engine.step()
    for number, receiver in enumerate(urgent, 10):
        engine.submit([number], PARAMS, receiver)
    while urgent[0].reason is None:
        engine.step()
        engine.check_integrity()
    assert [len(receiver.token_ids) for receiver in low] == [1, 1, 0]
    run(engine)
    for number, receiver in [*enumerate(low), *enumerate(urgent, 10)]:
        assert receiver.token_ids == expected([number], PARAMS)


def test_one_tenant_cannot_crowd_out_another(make_engine: Any, make_receiver: Any) -> None:
    engine, _ = make_engine(max_sequences=2)
    ended: list[str] = []

    def note(tenant: str) -> Any:
        return lambda delta: ended.append(tenant) if delta.finish_reason else None

    for _ in range(10):
        engine.submit([1, 2], PARAMS, note("many"), RequestOptions(tenant="many"))
    for _ in range(2):
        engine.submit([1, 2], PARAMS, note("few"), RequestOptions(tenant="few"))
    run(engine)
    assert "few" in ended[:2]
    assert ended.index("few", ended.index("few") + 1) <= 4


def test_time_is_accounted_for(make_engine: Any, make_receiver: Any) -> None:
    engine, executor = make_engine(max_sequences=1)
    step = executor.step

    def slow(chunks: Any) -> Any:
        time.sleep(0.002)
        return step(chunks)

    executor.step = slow
    first, second, never = (make_receiver() for _ in range(3))
    began = time.monotonic()
    for receiver in (first, second):
        engine.submit([1, 2], SamplingParams(max_tokens=5, ignore_eos=True), receiver)
    cancelled = engine.submit([1], PARAMS, never)
    engine.cancel(cancelled)
    run(engine)
    took = time.monotonic() - began
    one, two, none = (receiver.deltas[-1].timing for receiver in (first, second, never))
    assert all(delta.timing is None for delta in first.deltas[:-1])
    assert one.prefill_s >= 0.002
    assert one.queue_s < two.queue_s
    assert two.queue_s >= 0.010
    assert one.decode_s >= 0.008
    assert one.decode_s + two.queue_s + two.prefill_s + two.decode_s < 2 * took
    assert (none.prefill_s, none.decode_s) == (0, 0)
    stats = engine.stats()
    assert stats.steps == 10
    assert 0.020 <= stats.executor_s <= stats.step_s <= took
    assert 0.002 <= stats.last_step_s <= stats.step_s


def test_what_waits_is_counted_in_tokens(make_engine: Any, receiver: Any) -> None:
    engine, _ = make_engine()
    engine.submit([1] * 5, PARAMS, lambda _: None)
    engine.submit([1] * 7, PARAMS, lambda _: None)
    stats = engine.stats()
    assert (stats.waiting, stats.waiting_tokens, stats.blocks_cached) == (2, 12, 0)
    engine.step()
    stats = engine.stats()
    assert (stats.running, stats.waiting_tokens) == (2, 0)
    assert (stats.prefill_tokens, stats.generated_tokens, stats.blocks_cached) == (12, 2, 1)


def test_deadlines_of_what_has_ended_are_forgotten(make_engine: Any) -> None:
    engine, _ = make_engine()
    for _ in range(300):
        later = RequestOptions(timeout_s=1000.0)
        engine.submit([1], SamplingParams(max_tokens=1), lambda _: None, later)
        run(engine)
    assert len(engine._deadlines) < 40


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"repetition_penalty": 1.1}, "repetition_penalty: is not supported by this executor"),
        ({"presence_penalty": 0.1}, "presence_penalty: is not supported"),
        ({"frequency_penalty": 0.1}, "frequency_penalty: is not supported"),
        ({"logit_bias": ((1, 1.0),)}, "logit_bias: is not supported"),
        ({"typical_p": 0.9}, "typical_p: is not supported"),
        ({"prompt_logprobs": 0}, "prompt_logprobs: is not supported"),
        ({"stop_token_ids": (300,)}, "stop_token_ids: 300 is not a token id"),
    ],
)
def test_what_the_executor_does_not_offer_is_refused_by_name(
    make_engine: Any, asked: Any, message: str
) -> None:
    engine, _ = make_engine()
    with pytest.raises(UsageError, match=message):
        engine.submit([1], SamplingParams(**asked), lambda _: None)
    assert not engine.has_work


def test_a_bias_on_a_token_that_does_not_exist_is_refused(make_engine: Any) -> None:
    engine, executor = make_engine()
    executor.features = frozenset({"logit_bias"})
    engine = Engine(executor, engine._tokenizer, EngineConfig(num_blocks=64, block_size=4))
    with pytest.raises(UsageError, match="logit_bias: 300 is not a token id"):
        engine.submit([1], SamplingParams(logit_bias=((300, 1.0),)), lambda _: None)


def test_a_draft_that_fails_costs_a_step_and_not_the_answer(
    make_engine: Any, expected: Any, receiver: Any
) -> None:
    """FAULTS A9: a draft token whose scores are not finite need not be part of the answer."""
    engine, executor = make_engine(vocabulary=3, speculation=4)
    run_one, failed = executor._run, []

    def fail_drafts(model_input: ModelInput) -> Any:
        if model_input.verify_rows:
            failed.append(model_input)
            return Failure("model: some scores are not finite")
        return run_one(model_input)

    executor._run = fail_drafts
    engine.submit([1, 2, 1, 2], PARAMS, receiver)
    run(engine)
    assert failed
    assert receiver.token_ids == expected([1, 2, 1, 2], PARAMS, 3)


def test_the_tokens_that_wait_are_bounded(make_engine: Any, receiver: Any) -> None:
    engine, _ = make_engine(max_waiting_tokens=20)
    engine.submit([1] * 30, PARAMS, lambda _: None)
    with pytest.raises(QueueFull, match="30 tokens wait already"):
        engine.submit([1], PARAMS, receiver)
    engine.step()
    engine.submit([1] * 15, PARAMS, receiver)
    with pytest.raises(QueueFull, match="15 tokens wait already"):
        engine.submit([1] * 6, PARAMS, receiver)
    engine.submit([1] * 5, PARAMS, receiver)


def test_one_tenant_alone_cannot_fill_the_queue(make_engine: Any) -> None:
    """FAULTS A2: a key that queues all it can leaves room for other keys."""
    engine, _ = make_engine(max_waiting=90)
    greedy, modest = (RequestOptions(tenant=name) for name in ("greedy", "modest"))
    for _ in range(80):
        engine.submit([1], PARAMS, lambda _: None, greedy)
    with pytest.raises(QueueFull, match="80 sequences wait already, 80 of them yours"):
        engine.submit([1], PARAMS, lambda _: None, greedy)
    for _ in range(5):
        engine.submit([1], PARAMS, lambda _: None, modest)


def test_deadlines_of_sequences_that_ended_are_forgotten(make_engine: Any) -> None:
    engine, _ = make_engine()
    options = RequestOptions(timeout_s=80_000)
    for _ in range(200):
        engine.submit([1], SamplingParams(max_tokens=1, ignore_eos=True), lambda _: None, options)
        engine.step()
        assert len(engine._deadlines) <= 20
