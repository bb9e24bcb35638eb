"""What is due between updates: samples, evaluations, checkpoints, a stop."""

from __future__ import annotations

import enum
import math


class Due(enum.Flag):
    """Actions due after an update."""

    SAMPLE = enum.auto()
    EVALUATION = enum.auto()
    CHECKPOINT = enum.auto()
    AT_ONCE = enum.auto()
    """Write that checkpoint without pauses: the user asked for it."""
    STOP = enum.auto()


def due_between(before: float, after: float, samples: int, evaluations: int) -> Due:
    """Return what falls due as a run goes from one share of it to another.

    Args:
        before: Share of the run that was done.
        after: Share that is done now; at 1 the run ends, and is scored and saved anyway.
        samples: Evenly spaced samples over the run.
        evaluations: Evenly spaced evaluations, each with a checkpoint.
    """
    due = Due(0)
    if _crossed(before, after, samples):
        due |= Due.SAMPLE
    if after < 1 and _crossed(before, after, evaluations):
        due |= Due.EVALUATION | Due.CHECKPOINT
    return due


def _crossed(before: float, after: float, parts: int) -> bool:
    """Tell whether a boundary between equal parts of the run lies between two shares."""
    return math.floor(before * parts) < math.floor(min(after, 1.0) * parts)
