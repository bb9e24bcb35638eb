"""Order of priority levels, with ageing."""

from __future__ import annotations

import heapq

PATIENCE = 32
"""Consecutive turns of better levels after which a worse one gets a turn."""


class Levels:
    """The levels at which something waits; the lowest number is best.

    A strict order would let a flood at one level starve all worse ones. So one turn after
    ``PATIENCE`` turns of the best level is for the worse ones, whichever waits longest.
    """

    def __init__(self) -> None:
        self._waiting: set[int] = set()
        self._order: list[int] = []
        """A heap; entries of levels that left are skipped."""
        self._passed = 0
        """Turns of the best level since a worse one had the last, or started to wait."""

    def add(self, level: int) -> None:
        """Let a level take part; no effect if it does already."""
        if level not in self._waiting:
            self._waiting.add(level)
            heapq.heappush(self._order, level)

    def discard(self, level: int) -> None:
        """Let a level take no further part."""
        self._waiting.discard(level)

    def best(self) -> int:
        """Return the best waiting level.

        Raises:
            IndexError: none waits.
        """
        while self._order[0] not in self._waiting:
            heapq.heappop(self._order)
        return self._order[0]

    def worse(self) -> list[int]:
        """Return the waiting levels below the best."""
        best = self.best()
        return [level for level in self._waiting if level != best]

    @property
    def worse_is_due(self) -> bool:
        """Whether the next turn is for the levels below the best."""
        return self._passed >= PATIENCE and len(self._waiting) > 1

    def turn(self, level: int) -> bool:
        """Record that a level had a turn; return whether ageing gave it.

        Call it before ``discard``, so that the level still takes part.
        """
        if level != self.best():
            self._passed = 0
            return True
        self._passed = self._passed + 1 if len(self._waiting) > 1 else 0
        return False
