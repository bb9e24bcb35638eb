"""Precedence of clients' requests over background work, in all models of the server."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Callable, Iterator

from ingot.server.engine.model_registry import Models

QUIET_S = 1.0
"""Seconds without a client's request before background work may wake a model: to load it takes
the CPUs for longer than a pause between two requests."""
_CHECK_S = 0.25


class BackgroundHold:
    """Keeps background sequences from running while a client's request is open.

    The engine of a request's own model would do so by itself once the request is queued there. But
    a request needs the CPUs before that, and the engines of other models need the same CPUs.

    Args:
        models: The served models.
        clock: Seconds that never go back.
    """

    def __init__(self, models: Models, clock: Callable[[], float] = time.monotonic) -> None:
        self._models = models
        self._clock = clock
        self._open = 0
        self._ended = -math.inf
        """When the last client's request ended."""

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold background work inside the block."""
        self._open += 1
        self._hold(True)  # each time: a model may have been opened since the last
        try:
            yield
        finally:
            self._open -= 1
            self._ended = self._clock()
            if not self._open:
                self._hold(False)

    async def until_quiet(self) -> None:
        """Wait until no client's request has been open for ``QUIET_S``."""
        while self._open or self._clock() - self._ended < QUIET_S:
            await asyncio.sleep(_CHECK_S)

    def _hold(self, on: bool) -> None:
        for model in self._models.all.values():
            model.loop.hold_background(on)
