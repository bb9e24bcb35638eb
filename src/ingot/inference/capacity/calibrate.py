"""Measurement of what steps cost a whole engine: executor, scheduling, sampling and text."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable
from collections.abc import Sequence as Seq

from ingot.inference.capacity.replay import StepCosts
from ingot.inference.capacity.traffic import Traffic
from ingot.inference.config import EngineConfig
from ingot.inference.engine import Engine
from ingot.inference.executors.base import Executor, ModelInput, Result
from ingot.inference.request.params import SamplingParams
from ingot.inference.request.sequence import OutputDelta
from ingot.inference.scheduling.cost_model import CostModel, StepWork
from ingot.inference.scheduling.measured_costs import measure_costs
from ingot.model.tokenizer import Tokenizer

CALIBRATE_S = 6.0
_CLIENTS = (1, 4, 16, 64)
_LONGEST_ANSWER = 32
_MOST_PROMPTS = 512
_STALL = 4.0
_Clock = Callable[[], float]


class _Recorder:
    """Passes steps on to an executor and keeps what the last one computed."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self.config = executor.config
        self.block_size = executor.block_size
        self.num_blocks = executor.num_blocks
        self.features = executor.features
        self.work: StepWork | None = None

    def step(self, inputs: Seq[ModelInput]) -> Seq[Result]:
        self.work = StepWork.of((len(one.token_ids), one.start) for one in inputs)
        return self._executor.step(inputs)

    def try_step(self, inputs: Seq[ModelInput]) -> Seq[Result] | None:
        self.work = StepWork.of((len(one.token_ids), one.start) for one in inputs)
        return self._executor.try_step(inputs)

    def interrupt(self, on: bool) -> None:
        self._executor.interrupt(on)

    def weight_digests(self) -> dict[str, str]:
        return self._executor.weight_digests()

    def yield_cpu(self, on: bool) -> None:
        self._executor.yield_cpu(on)

    def close(self) -> None:
        """Leave the executor to its owner."""


def calibrate(
    executor: Executor,
    tokenizer: Tokenizer,
    config: EngineConfig,
    traffic: Traffic,
    *,
    limit_s: float = CALIBRATE_S,
    clock: _Clock = time.monotonic,
) -> StepCosts:
    """Measure steps of many kinds on the executor, then those of the traffic on a whole engine.

    The traffic's requests are sent as fast as so many clients can, with answers cut short.

    Args:
        executor: What will run the steps; nothing may be in its cache.
        tokenizer: The model's.
        config: The engine's limits, those of the executor.
        traffic: Whose prompts are sent, as far as they fit.
        limit_s: When to stop.
        clock: Seconds that never go back.
    """
    context = config.max_context or executor.config.max_position_embeddings
    model = measure_costs(
        executor,
        max_step_tokens=config.max_step_tokens,
        max_sequences=config.max_sequences,
        max_context=context,
        limit_s=limit_s / 3,
        clock=clock,
    )
    prompts = _prompts(traffic, tokenizer, context)
    steps: list[tuple[StepWork, float]] = []
    for clients in _CLIENTS:
        if clients <= config.max_sequences:
            recorder = _Recorder(executor)
            engine = Engine(recorder, tokenizer, config, clock=clock)
            end = clock() + 2 * limit_s / 3 / len(_CLIENTS)
            steps += _closed_loop(engine, recorder, prompts, clients, end, clock)
    usual = _without_stalls(steps, model)
    for work, seconds in usual:
        model.observe(work, seconds)
    spread = tuple(seconds / model.seconds(work) for work, seconds in usual)
    stalled = 1 - len(usual) / len(steps) if steps else 0.0
    return StepCosts(model, spread or (1.0,), stalled)


def _without_stalls(
    steps: Seq[tuple[StepWork, float]], model: CostModel
) -> list[tuple[StepWork, float]]:
    """Leave out steps that took many times what such steps usually take.

    While nothing but the engine computes, hardly a step does; another process that takes the CPU is
    not what the planned machine has.
    """
    if not steps:
        return []
    ratios = [seconds / model.seconds(work) for work, seconds in steps]
    usual = statistics.median(ratios)
    return [step for step, ratio in zip(steps, ratios, strict=True) if ratio <= _STALL * usual]


def _prompts(
    traffic: Traffic, tokenizer: Tokenizer, context: int
) -> list[tuple[tuple[int, ...], SamplingParams]]:
    """Return prompts of the traffic's lengths, as far as they fit, of tokens the model has."""
    known = [token for token in range(tokenizer.vocab_size) if token not in tokenizer.holes]
    found = []
    for request in traffic.requests[:_MOST_PROMPTS]:
        answer = min(request.answer, _LONGEST_ANSWER)
        ids = tuple(known[token % len(known)] for token in request.token_ids[: context - answer])
        found.append((ids, SamplingParams(max_tokens=answer, ignore_eos=True, temperature=0.0)))
    return found


def _closed_loop(
    engine: Engine,
    recorder: _Recorder,
    prompts: Seq[tuple[tuple[int, ...], SamplingParams]],
    clients: int,
    end: float,
    clock: _Clock,
) -> list[tuple[StepWork, float]]:
    """Keep so many requests running until a time; return each step's work and seconds."""
    waiting = itertools.cycle(prompts)
    running = 0
    steps: list[tuple[StepWork, float]] = []

    def ended(delta: OutputDelta) -> None:
        nonlocal running
        running -= delta.finish_reason is not None

    while clock() < end:
        while running < clients:
            engine.submit(*next(waiting), ended)
            running += 1
        began = clock()
        if engine.step() and recorder.work is not None:
            steps.append((recorder.work, clock() - began))
    engine.cancel_all()
    while engine.has_work:
        engine.step()
    return steps
