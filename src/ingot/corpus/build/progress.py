"""Progress events of a build."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Phase = Literal["read", "train tokenizer", "tokenize", "compress"]

_SECONDS_BETWEEN = 0.05


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of one phase of a build.

    Attributes:
        phase: The current phase.
        done: Bytes done.
        total: Bytes in all; the last event of a phase has ``done == total``.
    """

    phase: Phase
    done: int
    total: int


ProgressCallback = Callable[[Progress], None]


class ProgressReporter:
    """Rate-limited progress events; the first and the last of a phase are always sent."""

    def __init__(self, callback: ProgressCallback | None) -> None:
        self._callback = callback
        self._last: Progress | None = None
        self._time = 0.0

    def report(self, phase: Phase, done: int, total: int) -> None:
        """Report ``done`` of ``total`` bytes of a phase; ``done`` may reach ``total`` early."""
        if self._callback is None:
            return
        now = time.monotonic()
        begins = self._last is None or self._last.phase != phase
        if not begins and done < total and now - self._time < _SECONDS_BETWEEN:
            return  # checked before an event is created: this runs for every document
        event = Progress(phase, min(done, total), total)
        if event != self._last:
            self._last, self._time = event, now
            self._callback(event)
