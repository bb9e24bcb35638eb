"""Load that other programs put on the machine while something is measured."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

BUSY_SHARE = 0.15
"""Share of the processors' time above which other programs disturb a measurement."""

_STAT = Path("/proc/stat")
_IDLE = (3, 4)  # of the first line's numbers: idle, and waiting for a disk
_COUNTED = 8  # guest time, which follows, is counted in user time already
_T = TypeVar("_T")


@dataclass(frozen=True)
class ProcessorTime:
    """Processor time since the machine started, in seconds over all processors."""

    total: float
    busy: float
    own: float
    """Of this process and the children that it has waited for."""


@dataclass(frozen=True)
class Measured(Generic[_T]):
    """A measurement and what else the machine did meanwhile."""

    value: _T
    others: float | None
    """Share of the processors' time that other programs took; None where it is unknown."""

    @property
    def busy(self) -> bool:
        """Whether other programs disturbed it."""
        return self.others is not None and self.others > BUSY_SHARE


def processor_time(stat: Path = _STAT) -> ProcessorTime | None:
    """Return the processor time until now; None where the system does not tell (not Linux)."""
    try:
        with stat.open() as file:
            numbers = [int(number) for number in file.readline().split()[1 : 1 + _COUNTED]]
    except (OSError, ValueError):
        return None
    if len(numbers) < max(_IDLE) + 1:
        return None
    ticks = os.sysconf("SC_CLK_TCK")
    total, idle = sum(numbers), sum(numbers[index] for index in _IDLE)
    return ProcessorTime(total / ticks, (total - idle) / ticks, sum(os.times()[:4]))


def others_share(before: ProcessorTime | None, after: ProcessorTime | None) -> float | None:
    """Return the share of the processors' time that other programs took between two readings.

    None if the system does not tell, or so little time has passed that nothing was counted.
    """
    if before is None or after is None or after.total <= before.total:
        return None
    others = (after.busy - before.busy) - (after.own - before.own)
    return min(max(others / (after.total - before.total), 0.0), 1.0)


def watched(measure: Callable[[], _T]) -> Measured[_T]:
    """Measure once, and note the load."""
    before = processor_time()
    value = measure()
    return Measured(value, others_share(before, processor_time()))


def least_disturbed(
    measure: Callable[[], _T], on_busy: Callable[[Measured[_T]], None], *, attempts: int = 2
) -> Measured[_T]:
    """Measure; where other programs disturbed it, measure again and keep the quieter attempt.

    Args:
        measure: Makes the measurement.
        on_busy: Called before each further attempt with the disturbed one.
        attempts: Most measurements.
    """
    best = watched(measure)
    for _ in range(attempts - 1):
        if not best.busy:
            break
        on_busy(best)
        again = watched(measure)
        best = min(best, again, key=lambda each: each.others or 0.0)
    return best
