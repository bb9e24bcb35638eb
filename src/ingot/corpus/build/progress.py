"""What a build tells whoever watches it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Phase = Literal["read", "train tokenizer", "tokenize", "compress"]

_SECONDS_BETWEEN = 0.05


@dataclass(frozen=True, slots=True)
class Progress:
    """How far one phase of a build is.

    Attributes:
        phase: What is being done now.
        done: Bytes done.
        total: Bytes in all; the last event of a phase has ``done == total``.
    """

    phase: Phase
    done: int
    total: int


ProgressCallback = Callable[[Progress], None]


class ProgressTeller:
    """Passes progress on: the ends of a phase always, what is between now and then."""

    def __init__(self, callback: ProgressCallback | None) -> None:
        self._callback = callback
        self._last: Progress | None = None
        self._time = 0.0

    def tell(self, phase: Phase, done: int, total: int) -> None:
        """Report ``done`` of ``total`` bytes of a phase; both may be reached before the end."""
        if self._callback is None:
            return
        now = time.monotonic()
        begins = self._last is None or self._last.phase != phase
        if not begins and done < total and now - self._time < _SECONDS_BETWEEN:
            return  # called for every document, so this comes before anything is made
        event = Progress(phase, min(done, total), total)
        if event != self._last:
            self._last, self._time = event, now
            self._callback(event)
