"""The workloads of every engine, ours and the peers': the same steps, timed alike.

The standard library alone, for it also runs inside the peers' environments.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import Protocol

PROMPT, ANSWER = 64, 32
MIXED_SEQUENCES, MIXED_ARRIVALS_S = 64, 2.0

_FIRST_ID, _LAST_ID = 3, 250


class Stepper(Protocol):
    """An engine that runs sequences together, one step at a time."""

    def add(self, ids: list[int], answer: int) -> int:
        """Add a prompt with a greedy answer of exactly ``answer`` tokens; return its number."""
        ...

    def step(self) -> list[int]:
        """Run one step and return, for each token made, the number of its sequence."""
        ...


def prefill_rate(engine: Stepper, tokens: int) -> float:
    """Return the tokens per second of one prompt's prefill, with its first answer token."""
    engine.add(_prompt(tokens, 0), 1)
    started = time.perf_counter()
    _make(engine, 1)
    return tokens / (time.perf_counter() - started)


def decode_rate(engine: Stepper, sequences: int) -> float:
    """Return the tokens per second of sequences past their prefill."""
    begun: set[int] = set()
    made = 0
    for seed in range(sequences):
        engine.add(_prompt(PROMPT, seed), ANSWER + 1)
    while len(begun) < sequences:
        numbers = engine.step()
        begun.update(numbers)
        made += len(numbers)
    left = sequences * (ANSWER + 1) - made
    started = time.perf_counter()
    _make(engine, left)
    return left / (time.perf_counter() - started)


def mixed_rate(engine: Stepper) -> float:
    """Return the prompt and answer tokens per second of mixed sequences that arrive over time."""
    waiting = mixed_work()
    total = sum(each.prompt + each.answer for each in waiting)
    left = sum(each.answer for each in waiting)
    started = time.perf_counter()
    while left:
        now = time.perf_counter() - started
        while waiting and waiting[0].arrival_s <= now:
            each = waiting.pop(0)
            engine.add(_prompt(each.prompt, len(waiting)), each.answer)
        left -= len(engine.step())
    return total / (time.perf_counter() - started)


@dataclass(frozen=True)
class Arrival:
    """One sequence of the mixed workload."""

    arrival_s: float
    prompt: int
    answer: int


def mixed_work() -> list[Arrival]:
    """Return the sequences of the mixed workload in order of arrival, always the same."""
    rng = random.Random(2)
    gap = MIXED_ARRIVALS_S / MIXED_SEQUENCES
    return [
        Arrival(i * gap, rng.randint(16, 1024), rng.randint(8, 256)) for i in range(MIXED_SEQUENCES)
    ]


def _make(engine: Stepper, tokens: int) -> None:
    while tokens > 0:
        tokens -= len(engine.step())


def _prompt(tokens: int, seed: int) -> list[int]:
    rng = random.Random(seed)
    return [rng.randint(_FIRST_ID, _LAST_ID) for _ in range(tokens)]
