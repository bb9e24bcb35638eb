"""Measurement of what steps cost, on the executor itself, in a few seconds before it serves."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from ingot.inference.executors.base import Executor, ModelInput, SamplingRow
from ingot.inference.request.params import SamplingParams
from ingot.inference.scheduling.cost_model import CostModel, StepWork

MEASURE_S = 3.0
"""Seconds that a measurement takes, but for the step that is running then."""
_REPEATS = 3
_GREEDY = SamplingParams(temperature=0.0)
_DECODES = (1, 4, 16, 64, 256)
_CONTEXTS = (32, 512)
_PROMPTS = (16, 64, 128, 256, 512)
_Chunk = tuple[int, int]
"""Tokens, and those before them."""


def measure_costs(
    executor: Executor,
    *,
    max_step_tokens: int,
    max_sequences: int,
    max_context: int,
    limit_s: float = MEASURE_S,
    clock: Callable[[], float] = time.monotonic,
) -> CostModel:
    """Run steps of many kinds and return the model that they give.

    It writes to blocks of the cache, so nothing may be in them yet.

    Args:
        executor: What will run the steps.
        max_step_tokens: The token budget of a step.
        max_sequences: Most sequences in a step.
        max_context: Most tokens of a sequence.
        limit_s: When to stop; small steps come first, and one is run in any case.
        clock: Seconds that never go back.
    """
    model, end = CostModel(), clock() + limit_s
    last_s, last_tokens = 0.0, 1
    for chunks in _steps(max_step_tokens, max_sequences, max_context):
        inputs = _inputs(executor, chunks)
        if inputs is None:
            continue
        work = StepWork.of(chunks)
        expected_s = last_s * max(work.tokens / last_tokens, 1.0)
        if clock() + (1 + _REPEATS) * expected_s > end and model.known:
            continue
        executor.step(inputs)  # the first of a kind is slower: memory is touched, threads wake
        for _ in range(_REPEATS):
            began = clock()
            executor.step(inputs)
            last_s, last_tokens = clock() - began, work.tokens
            model.observe(work, last_s)
            if clock() > end:
                return model
    return model


def _steps(max_step_tokens: int, max_sequences: int, max_context: int) -> Iterator[list[_Chunk]]:
    """Yield the chunks of each step to run, within the limits, few tokens before many."""
    widest = min(max_step_tokens, max_context - 1)
    deepest = max_context - 1
    for count in _DECODES:
        if count <= min(max_sequences, max_step_tokens):
            for context in _CONTEXTS:
                yield [(1, min(context, deepest))] * count
    for count in sorted({min(count, widest) for count in _PROMPTS} | {widest}):
        if count > 1:
            yield [(count, 0)]
            if count + _CONTEXTS[-1] <= deepest:
                yield [(count, _CONTEXTS[-1])]
    if max_sequences > 8 and widest > 64:
        yield [*[(1, min(_CONTEXTS[-1], deepest))] * 8, (widest - 8, 0)]


def _inputs(executor: Executor, chunks: list[_Chunk]) -> list[ModelInput] | None:
    """Return a step's inputs, each in blocks of its own; None if the cache is too small."""
    inputs: list[ModelInput] = []
    taken = 0
    for count, start in chunks:
        blocks = -(-(start + count) // executor.block_size)
        table = list(range(taken, taken + blocks))
        taken += blocks
        row = SamplingRow(_GREEDY, 0, start + count)
        inputs.append(ModelInput([0] * count, start, table, row))
    return inputs if taken <= executor.num_blocks else None
