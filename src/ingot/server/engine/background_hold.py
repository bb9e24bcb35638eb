"""Precedence of clients' requests over background work, in all models of the server."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from ingot.server.engine.model_registry import Models


class BackgroundHold:
    """Keeps background sequences from running while a client's request is open.

    The engine of a request's own model would do so by itself once the request is queued there. But
    a request needs the CPUs before that, and the engines of other models need the same CPUs.

    Args:
        models: The served models.
    """

    def __init__(self, models: Models) -> None:
        self._models = models
        self._open = 0

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold background work inside the block."""
        self._open += 1
        self._hold(True)  # each time: a model may have been opened since the last
        try:
            yield
        finally:
            self._open -= 1
            if not self._open:
                self._hold(False)

    def _hold(self, on: bool) -> None:
        for model in self._models.all.values():
            model.loop.hold_background(on)
