"""Search for the most traffic that an engine carries within an objective."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ingot.inference.capacity.replay import Outcome, StepCosts, replay
from ingot.inference.capacity.traffic import Traffic
from ingot.inference.config import EngineConfig
from ingot.inference.request.objective import Objective

_PRECISION = 0.03
_LEAST, _MOST = 1 / 4096, 4096.0


@dataclass(frozen=True)
class Carried:
    """What one machine carries with one configuration."""

    factor: float
    """How many times the traffic; 0 where not even a small part is in time."""
    machines: int
    """How many such machines the traffic needs; 0 where none suffices."""
    outcome: Outcome | None
    """Of one of these machines, each given an equal part of the traffic; None without machines."""


def carried(
    traffic: Traffic,
    config: EngineConfig,
    costs: StepCosts,
    objective: Objective,
    *,
    max_context: int,
    above: float = 0.0,
) -> Carried | None:
    """Find the largest multiple of the traffic that keeps the objective, and what follows.

    A part of the traffic is the same requests at longer intervals; so what machines share of
    prefixes is as if each saw every kind of request.

    Args:
        traffic: The requests.
        config: The engine's limits, with ``num_blocks``.
        costs: What a step takes.
        objective: Must be kept by its percentage of the requests.
        max_context: Most tokens of prompt and answer.
        above: What is of interest: where no more than this is carried, nothing is returned.

    Raises:
        UsageError: a request does not fit.
    """
    # One may always be late, as in a request one gap between tokens may.
    allowed = math.ceil((1 - objective.percentile / 100) * len(traffic.requests) - 1e-9)

    def run(factor: float) -> Outcome:
        return replay(
            traffic,
            config,
            costs,
            objective,
            max_context=max_context,
            factor=factor,
            most_late=allowed,
        )

    def keeps(factor: float) -> bool:
        outcome = run(factor)
        return outcome.requests - outcome.in_time <= allowed

    if above and not keeps(above * (1 + _PRECISION)):
        return None
    low = high = above * (1 + _PRECISION) if above else 1.0
    if above or keeps(1.0):
        while high <= _MOST and keeps(high := 2 * high):
            low = high
    else:
        while low >= _LEAST and not keeps(low := low / 2):
            high = low
        if low < _LEAST:
            return Carried(0.0, 0, None)
    while high / low > 1 + _PRECISION:
        middle = math.sqrt(low * high)
        low, high = (middle, high) if keeps(middle) else (low, middle)
    machines = math.ceil(1 / low - 1e-9)
    return Carried(low, machines, run(1 / machines))
