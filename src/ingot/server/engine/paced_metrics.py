"""Readers of the metrics share renderings, so that many of them cost no more than one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable

from ingot.server.access.api_keys import Key

SHARE = 0.1
"""Most of the event loop's time that renderings take."""
_LONGEST_WAIT_S = 1.0

Bodies = dict[Key | None, bytes]


class PacedMetrics:
    """Renders the metrics for all readers that wait; used on one event loop.

    A rendering takes milliseconds on the event loop, in which no stream gets its tokens. So after
    one that took long the next begins later, and those who ask meanwhile share it. What a reader
    gets is never older than its request.

    Args:
        render: Returns the metrics for each of some keys.
    """

    def __init__(self, render: Callable[[Iterable[Key | None]], Bodies]) -> None:
        self._render = render
        self._due = 0.0
        self._asked: dict[Key | None, None] = {}
        self._next: asyncio.Task[Bodies] | None = None

    async def read(self, key: Key | None) -> bytes:
        """Return the metrics that a key may see."""
        self._asked[key] = None
        if self._next is None:
            self._next = asyncio.create_task(self._render_when_due())
        # A reader that leaves does not take the rendering from the others.
        bodies = await asyncio.shield(self._next)
        return bodies[key]

    async def _render_when_due(self) -> Bodies:
        await asyncio.sleep(self._due - time.monotonic())
        asked, self._asked, self._next = self._asked, {}, None
        began = time.monotonic()
        try:
            return self._render(asked)
        finally:
            ended = time.monotonic()
            self._due = ended + min((ended - began) * (1 / SHARE - 1), _LONGEST_WAIT_S)
