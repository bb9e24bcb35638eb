from __future__ import annotations

import gc
import queue
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from ingot.artifact import Ingot
from ingot.errors import ServeError, UsageError
from ingot.inference import (
    Engine,
    EngineConfig,
    EngineLoop,
    OutputDelta,
    QueueFull,
    RequestOptions,
    SamplingParams,
)
from ingot.inference.executors.torch import TorchExecutor
from ingot.model import ModelConfig

PARAMS = SamplingParams(max_tokens=20, seed=3, ignore_eos=True)
LONG = SamplingParams(max_tokens=100, seed=3, ignore_eos=True)


class Answer:
    """An answer that a test waits for."""

    def __init__(self) -> None:
        self.said: queue.Queue[OutputDelta] = queue.Queue()

    def wait(self) -> list[OutputDelta]:
        deltas = [self.said.get(timeout=300)]
        while deltas[-1].finish_reason is None:
            deltas.append(self.said.get(timeout=300))
        return deltas


class Gate:
    """Holds the engine's thread inside a delta until it is opened."""

    def __init__(self) -> None:
        self.reached, self.open = threading.Event(), threading.Event()
        self.answer = Answer()

    def __call__(self, delta: OutputDelta) -> None:
        self.reached.set()
        assert self.open.wait(300)
        self.answer.said.put(delta)


@pytest.fixture
def make_loop(make_engine: Any) -> Iterator[Callable[..., EngineLoop]]:
    loops: list[EngineLoop] = []

    def make(*args: int, **limits: int) -> EngineLoop:
        loops.append(EngineLoop(make_engine(*args, **limits)[0]))
        return loops[-1]

    yield make
    for loop in loops:
        loop.close(0)


def ids(deltas: list[OutputDelta]) -> list[int]:
    return [token for delta in deltas for token in delta.token_ids]


def test_many_threads_get_their_own_answers(make_loop: Any, expected: Any) -> None:
    loop = make_loop(40, 4, max_sequences=5)
    results: dict[int, list[int]] = {}

    def ask(number: int) -> None:
        results[number] = ids(list(loop.stream([number], PARAMS, 300)))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
    assert results == {number: expected([number], PARAMS) for number in range(20)}
    stats = loop.stats()
    assert (stats.running, stats.waiting, stats.failed) == (0, 0, None)
    assert stats.blocks_free == stats.blocks_total
    assert stats.generated_tokens == 400


def test_an_idle_loop_uses_no_processor(make_loop: Any) -> None:
    loop = make_loop()
    list(loop.stream([1], PARAMS, 300))
    thread = next(one for one in threading.enumerate() if one.name == "ingot-engine")
    clock = time.pthread_getcpuclockid(thread.ident)  # type: ignore[arg-type]
    before = time.clock_gettime(clock)
    time.sleep(0.3)
    assert time.clock_gettime(clock) - before < 0.01


def test_a_lost_block_is_found_when_the_engine_is_idle(make_engine: Any) -> None:
    engine, executor = make_engine()
    loop = EngineLoop(engine)
    list(loop.stream([1], PARAMS, 300))
    engine._cache._empty.pop()
    answer, deadline = Answer(), time.monotonic() + 300
    loop.submit([1], SamplingParams(max_tokens=1), answer.said.put)
    answer.wait()
    while loop.failed is None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert "1 are lost" in str(loop.failed)
    loop.close(5)
    assert executor.closed


def test_cancel_ends_an_answer(make_loop: Any) -> None:
    loop, gate = make_loop(), Gate()
    sequence = loop.submit([1], LONG, gate)
    assert gate.reached.wait(300)
    loop.cancel(sequence)
    gate.open.set()
    assert [delta.finish_reason for delta in gate.answer.wait()] == [None, "cancelled"]


def test_a_deadline_ends_an_answer(make_loop: Any) -> None:
    answer = Answer()
    make_loop().submit([1], LONG, answer.said.put, RequestOptions(timeout_s=1e-9))
    assert [delta.finish_reason for delta in answer.wait()] == ["deadline"]


def test_a_full_queue_refuses_and_counts_what_is_arriving(make_loop: Any) -> None:
    loop, gate, answer = make_loop(max_waiting=2), Gate(), Answer()
    loop.submit([1], PARAMS, gate)
    assert gate.reached.wait(300)
    loop.submit([1], PARAMS, answer.said.put)
    loop.submit([1], PARAMS, answer.said.put)
    with pytest.raises(QueueFull, match="2 sequences wait already"):
        loop.submit([1], PARAMS, answer.said.put)
    assert loop.stats().waiting == 2
    gate.open.set()
    answer.wait()
    answer.wait()


def test_a_bad_request_is_refused_where_it_is_made(make_loop: Any) -> None:
    with pytest.raises(UsageError, match="prompt: is empty"):
        make_loop().submit([], PARAMS, lambda _: None)


def test_a_receiver_that_raises_harms_no_other(make_loop: Any, expected: Any) -> None:
    loop = make_loop()

    def broken(delta: OutputDelta) -> None:
        raise RuntimeError("no more")

    loop.submit([1], PARAMS, broken)
    assert ids(list(loop.stream([2], PARAMS, 300))) == expected([2], PARAMS)
    assert loop.failed is None


def test_a_failing_engine_tells_everyone_and_takes_no_more(
    make_engine: Any, make_receiver: Any
) -> None:
    engine, executor = make_engine(max_sequences=2)
    executor.fail_after = 1
    loop, gate = EngineLoop(engine), Gate()
    loop.submit([1], PARAMS, gate)
    assert gate.reached.wait(300)
    answers = [Answer() for _ in range(4)]  # they arrive before the step that fails
    for answer in answers:
        loop.submit([1], PARAMS, answer.said.put)
    gate.open.set()
    for answer in (gate.answer, *answers):
        last = answer.wait()[-1]
        assert last.finish_reason == "error"
        assert last.error == "model: 2 of 8 scores are not finite"
    assert loop.failed == loop.stats().failed == "model: 2 of 8 scores are not finite"
    with pytest.raises(ServeError, match=r"engine: has failed .* start it again"):
        loop.submit([1], PARAMS, lambda _: None)
    loop.close(5)
    assert executor.closed


def test_what_arrives_while_the_engine_fails_is_told_too(make_engine: Any) -> None:
    engine, executor = make_engine()
    reached, fail = threading.Event(), threading.Event()

    def step(_: Any) -> Any:
        reached.set()
        assert fail.wait(300)
        raise ServeError("broken")

    executor.step = step
    loop, running, arriving = EngineLoop(engine), Answer(), Answer()
    loop.submit([1], PARAMS, running.said.put)
    assert reached.wait(300)
    loop.submit([1], PARAMS, arriving.said.put)
    fail.set()
    assert [answer.wait()[-1].error for answer in (running, arriving)] == ["broken", "broken"]
    loop.close(5)


def test_a_fault_in_the_executor_is_named(make_engine: Any) -> None:
    engine, executor = make_engine()
    executor.step = lambda _: 1 / 0
    loop, answer = EngineLoop(engine), Answer()
    loop.submit([1], PARAMS, answer.said.put)
    assert answer.wait()[-1].error == "ZeroDivisionError: division by zero"
    loop.close(5)


def test_leaving_a_stream_cancels_it(make_engine: Any) -> None:
    engine, executor = make_engine()
    step, left = executor.step, threading.Event()

    def fourth_waits(chunks: Any) -> Any:
        if len(executor.steps) == 3:
            assert left.wait(300)
        return step(chunks)

    executor.step = fourth_waits
    loop = EngineLoop(engine)
    stream = loop.stream([1], LONG, 300)
    next(stream)
    stream.close()
    left.set()
    loop.close(300)
    assert loop.stats().generated_tokens <= 4


def test_a_stream_ends_at_its_timeout(make_loop: Any) -> None:
    last = list(make_loop().stream([1], LONG, 1e-9))[-1]
    assert last.finish_reason == "deadline"


def test_a_stream_does_not_wait_for_an_engine_that_hangs(
    make_loop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingot.inference.loop._GRACE_S", 0.05)
    loop, gate = make_loop(), Gate()
    loop.submit([1], PARAMS, gate)
    assert gate.reached.wait(300)
    with pytest.raises(ServeError, match="did not answer"):
        list(loop.stream([1], PARAMS, 0.05))
    gate.open.set()


def test_close_lets_answers_finish_and_refuses_new_ones(make_engine: Any) -> None:
    engine, executor = make_engine()
    loop, gate, answer = EngineLoop(engine), Gate(), Answer()
    loop.submit([1], PARAMS, gate)
    assert gate.reached.wait(300)
    loop.submit([2], PARAMS, answer.said.put)
    closing = threading.Thread(target=loop.close, args=(300,))
    closing.start()
    with pytest.raises(ServeError, match="engine: is closing; start another"):
        submit_until_refused(loop)
    gate.open.set()
    closing.join(300)
    assert not closing.is_alive()
    assert gate.answer.wait()[-1].finish_reason == "length"
    assert answer.wait()[-1].finish_reason == "length"
    assert executor.closed
    loop.close(0)


def submit_until_refused(loop: EngineLoop) -> None:
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        loop.submit([3], SamplingParams(max_tokens=1), lambda _: None)
        time.sleep(0.001)


def test_close_cancels_at_its_deadline(make_engine: Any) -> None:
    engine, executor = make_engine(max_sequences=1)
    loop, gate, answer = EngineLoop(engine), Gate(), Answer()
    loop.submit([1], LONG, gate)
    loop.submit([1], LONG, answer.said.put)
    assert gate.reached.wait(300)
    threading.Timer(0.1, gate.open.set).start()
    loop.close(0)
    assert gate.answer.wait()[-1].finish_reason == "cancelled"
    assert answer.wait()[-1].finish_reason == "cancelled"
    assert executor.closed


def test_close_at_once_runs_no_step_of_held_background_work(make_engine: Any) -> None:
    loop = EngineLoop(make_engine()[0])
    answer = Answer()
    loop.hold_background(True)
    loop.submit([1, 2, 3], LONG, answer.said.put, RequestOptions(background=True))
    loop.close(0)
    assert [delta.finish_reason for delta in answer.wait()] == ["cancelled"]
    assert loop.stats().steps == 0


def test_close_says_so_where_the_engine_hangs(
    make_engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingot.inference.loop._JOIN_S", 0.05)
    loop, gate = EngineLoop(make_engine()[0]), Gate()
    loop.submit([1], PARAMS, gate)
    assert gate.reached.wait(300)
    with pytest.raises(ServeError, match="did not stop"):
        loop.close(0)
    gate.open.set()
    loop.close(300)


def test_options_reach_the_engine(make_loop: Any) -> None:
    loop, gate = make_loop(max_sequences=1), Gate()
    loop.submit([1], SamplingParams(max_tokens=1, ignore_eos=True), gate)
    assert gate.reached.wait(300)
    order: queue.Queue[str] = queue.Queue()
    asked = [
        ("last", RequestOptions(tenant="a", priority=1)),
        ("first", RequestOptions(tenant="a", cache_salt="x")),
        ("third", RequestOptions(tenant="a")),
        ("second", RequestOptions(tenant="b")),
    ]
    for name, options in asked:
        loop.submit([2] * 9, PARAMS, named(order, name), options)
    gate.open.set()
    assert [order.get(timeout=300) for _ in asked] == ["first", "second", "third", "last"]


def named(order: queue.Queue[str], name: str) -> Callable[[OutputDelta], None]:
    return lambda delta: order.put(name) if delta.finish_reason else None


def test_what_arrives_counts_as_waiting(make_loop: Any) -> None:
    loop, gate, answer = make_loop(), Gate(), Answer()
    assert loop.max_context == 128
    loop.submit([1], PARAMS, gate)
    assert gate.reached.wait(300)
    loop.submit([1] * 7, PARAMS, answer.said.put)
    stats = loop.stats()
    assert (stats.waiting, stats.waiting_tokens) == (1, 7)
    gate.open.set()
    answer.wait()


@pytest.fixture
def make_real_loop(ingot: Ingot) -> Iterator[Callable[[], EngineLoop]]:
    loops: list[EngineLoop] = []

    def make() -> EngineLoop:
        executor = TorchExecutor(ingot, num_blocks=64, block_size=4)
        engine = Engine(executor, ingot.tokenizer, EngineConfig(num_blocks=64, block_size=4))
        loops.append(EngineLoop(engine))
        return loops[-1]

    yield make
    for loop in loops:
        loop.close(0)


def test_embeddings_and_answers_at_once(make_real_loop: Any, config: ModelConfig) -> None:
    loop, answer = make_real_loop(), Answer()
    loop.submit([1, 2], LONG, answer.said.put)
    first, again, other = (loop.embed(prompt, 20) for prompt in ([1, 2, 3], [1, 2, 3], [3, 2, 1]))
    assert (first.shape, first.dtype) == ((config.hidden_size,), np.float32)
    assert np.allclose(first, again, atol=1e-5)
    assert not np.allclose(first, other, atol=1e-2)
    assert len(ids(answer.wait())) == 100
    with pytest.raises(ServeError, match="ended with reason deadline"):
        loop.embed([1], 1e-9)
    with pytest.raises(UsageError, match="prompt: has 129 tokens, but the context holds 128;"):
        loop.embed([1] * 129, 20)
    assert loop.embed([1] * 128, 20).any()


def test_embeddings_need_an_executor_that_can(make_loop: Any) -> None:
    with pytest.raises(UsageError, match="embeddings: is not supported by this executor"):
        make_loop().embed([1], 20)


def test_weights_are_digested_while_the_engine_answers(make_real_loop: Any, ingot: Ingot) -> None:
    loop, answer = make_real_loop(), Answer()
    loop.submit([1, 2], LONG, answer.said.put)
    sealed = {name: record.sha256 for name, record in ingot.manifest.tensors.items()}
    assert loop.weight_digests() == sealed
    answer.wait()


def test_closing_gives_the_memory_back(make_real_loop: Any) -> None:
    loop = make_real_loop()
    list(loop.stream([1, 2, 3], PARAMS, 300))
    executor = loop._engine._executor
    held = [weakref.ref(tensor) for tensor in (*executor._keys, *executor._values)]
    held += [weakref.ref(weight) for weight in executor._transformer.parameters()]
    loop.close(300)
    gc.collect()
    assert [one() for one in held if one() is not None] == []


def test_one_loop_drains_while_the_next_answers(make_engine: Any, expected: Any) -> None:
    (first, old), (second, _) = make_engine(), make_engine()
    gate, loops = Gate(), [EngineLoop(first), EngineLoop(second)]
    loops[0].submit([1], PARAMS, gate)
    assert gate.reached.wait(300)
    closing = threading.Thread(target=loops[0].close, args=(300,))
    closing.start()
    assert ids(list(loops[1].stream([2], PARAMS, 300))) == expected([2], PARAMS)
    gate.open.set()
    assert ids(gate.answer.wait()) == expected([1], PARAMS)
    closing.join(300)
    assert old.closed
    loops[1].close(300)
