from __future__ import annotations

from typing import Any

import pytest

from ingot.inference import Engine, RequestOptions, SamplingParams
from ingot.inference.executors.base import ModelInput
from ingot.inference.scheduling.service_classes import BACKGROUND_STEP_TOKENS, background_blocks

PARAMS = SamplingParams(max_tokens=20, seed=3, ignore_eos=True)
BACKGROUND = RequestOptions(background=True)


def finish(engine: Engine) -> None:
    while engine.has_work:
        assert engine.step()
        engine.check_integrity()
    stats = engine.stats()
    assert stats.blocks_free == stats.blocks_total


def test_background_work_runs_only_while_nothing_else_does(
    make_engine: Any, expected: Any, make_receiver: Any
) -> None:
    engine, executor = make_engine()
    background, interactive = make_receiver(), make_receiver()
    engine.submit([1, 2, 3], PARAMS, background, BACKGROUND)
    for _ in range(5):
        engine.step()
    written = len(background.token_ids)
    assert written == 5
    engine.submit([4, 5], PARAMS, interactive)
    before = len(executor.steps)
    while interactive.reason is None:
        engine.step()
    assert len(background.token_ids) == written
    assert executor.steps[before:] == [[2], *[[1]] * 19], "steps of the one sequence alone"
    finish(engine)
    assert background.token_ids == expected([1, 2, 3], PARAMS)
    stats = engine.stats()
    assert stats.preemptions == 0, "it kept its blocks meanwhile"
    assert (stats.steps, stats.background_steps) == (40, 20)


def test_background_steps_are_short(make_engine: Any, make_receiver: Any) -> None:
    engine, executor = make_engine(256, max_step_tokens=512, max_sequences=100)
    for start in range(90):
        engine.submit([start, *[7] * 39], PARAMS, make_receiver(), BACKGROUND)
    finish(engine)
    assert max(map(sum, executor.steps)) <= BACKGROUND_STEP_TOKENS


def test_interactive_work_takes_the_blocks_it_needs(
    make_engine: Any, expected: Any, make_receiver: Any
) -> None:
    engine, _ = make_engine(20, 4, prefix_cache=False, max_context=40)
    background = {start: make_receiver() for start in range(4)}
    for start, one in background.items():
        engine.submit([start, 9], PARAMS, one, BACKGROUND)
    for _ in range(12):
        engine.step()
    held = engine.stats().blocks_total - engine.stats().blocks_free
    assert 6 <= held <= 10, "at most what the longest context takes"
    params = SamplingParams(max_tokens=9, seed=4, ignore_eos=True)
    interactive = {start: make_receiver() for start in range(2)}
    for start, one in interactive.items():
        engine.submit([start, *[8] * 30], params, one)
    engine.step()
    assert engine.stats().running == 2, "both began at once"
    while any(one.reason is None for one in interactive.values()):
        assert engine.stats().background_steps == 12
        engine.step()
        engine.check_integrity()
    finish(engine)
    for start, one in background.items():
        assert one.token_ids == expected([start, 9], PARAMS)
    for start, one in interactive.items():
        assert one.token_ids == expected([start, *[8] * 30], params)


@pytest.mark.parametrize(("blocks", "longest", "share"), [(400, 10, 100), (8, 5, 5), (4, 9, 4)])
def test_the_share_of_the_cache_holds_the_longest_sequence(
    blocks: int, longest: int, share: int
) -> None:
    assert background_blocks(blocks, longest) == share


def test_prefixes_that_others_cached_outlive_any_background_work(
    make_engine: Any, make_receiver: Any
) -> None:
    engine, _ = make_engine(40, 4, max_context=40)  # of which the background may hold 10
    prompt = [50, *range(100)][:29]
    engine.submit(prompt, SamplingParams(max_tokens=1, seed=0), make_receiver())
    finish(engine)
    for start in range(30):
        engine.submit([start, *[6] * 15], PARAMS, make_receiver(), BACKGROUND)
    finish(engine)
    before = engine.stats().cached_tokens
    engine.submit(prompt, PARAMS, make_receiver())
    finish(engine)
    assert engine.stats().cached_tokens - before == 28


def test_background_sequences_share_a_prefix(make_engine: Any, make_receiver: Any) -> None:
    engine, executor = make_engine(64, 4)
    shared = [3] * 24
    engine.submit([*shared, 1], PARAMS, make_receiver(), BACKGROUND)
    engine.step()
    engine.submit([*shared, 2], PARAMS, make_receiver(), BACKGROUND)
    engine.step()
    assert sorted(executor.steps[1]) == [1, 1], "one decode, and the last token of a prompt"
    finish(engine)


def test_held_background_work_waits(make_engine: Any, expected: Any, make_receiver: Any) -> None:
    engine, _ = make_engine()
    background, interactive = make_receiver(), make_receiver()
    engine.submit([1, 2, 3], PARAMS, background, BACKGROUND)
    engine.hold_background(True)
    assert not engine.has_work
    assert not engine.step()
    engine.submit([4, 5], PARAMS, interactive)
    finish_interactive = 0
    while engine.has_work:
        assert engine.step()
        finish_interactive += 1
    assert (finish_interactive, background.token_ids) == (20, [])
    engine.hold_background(False)
    finish(engine)
    assert background.token_ids == expected([1, 2, 3], PARAMS)


def test_an_interrupted_step_loses_nothing(
    make_engine: Any, expected: Any, make_receiver: Any
) -> None:
    engine, executor = make_engine()
    background = make_receiver()
    engine.submit([1, 2, 3], PARAMS, background, BACKGROUND)
    tried = 0
    run = executor.try_step

    def stopped_every_second_time(inputs: list[ModelInput]) -> Any:
        nonlocal tried
        tried += 1
        return run(inputs) if tried % 2 else None

    executor.try_step = stopped_every_second_time
    finish(engine)
    assert background.token_ids == expected([1, 2, 3], PARAMS)
    assert (tried, engine.stats().interrupted_steps) == (39, 19)


def test_the_queue_of_one_class_does_not_fill_the_others(
    make_engine: Any, make_receiver: Any
) -> None:
    engine, _ = make_engine(max_waiting=2)
    for _ in range(2):
        engine.submit([1], PARAMS, make_receiver(), BACKGROUND)
    engine.submit([2], PARAMS, make_receiver())
    stats = engine.stats()
    assert (stats.waiting, stats.background_waiting) == (1, 2)
    finish(engine)


def test_background_sequences_can_be_cancelled_while_they_are_held(
    make_engine: Any, make_receiver: Any
) -> None:
    engine, _ = make_engine()
    one, other = make_receiver(), make_receiver()
    sequence = engine.submit([1], PARAMS, one, BACKGROUND)
    engine.submit([1], PARAMS, other, RequestOptions(background=True, timeout_s=1e-9))
    engine.hold_background(True)
    engine.cancel(sequence)
    finish(engine)
    assert (one.reason, other.reason) == ("cancelled", "deadline")
