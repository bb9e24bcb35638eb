"""What workers on Ray tell of a job's end, and errors on their way to the command line."""

from __future__ import annotations

from typing import Any

from ingot import errors
from ingot.errors import IngotError

Told = dict[str, Any]


def told_error(error: IngotError) -> Told:
    """Return an error as another process can be told of it."""
    return {"error": str(error), "kind": type(error).__name__}


def error_told(told: Told) -> IngotError | None:
    """Return the error that was told; None if something else was."""
    if "error" not in told:
        return None
    kind: type[IngotError] = getattr(errors, told["kind"])
    return kind(told["error"])


class Outcome:
    """Keeper of how a job ends, as its first worker that knows tells it; an actor of Ray's."""

    def __init__(self) -> None:
        self._told: Told = {}

    def tell(self, told: Told) -> None:
        """Take what a worker tells, unless another has told something."""
        self._told = self._told or told

    def told(self) -> Told:
        """Return what was told; empty if nothing was."""
        return self._told
