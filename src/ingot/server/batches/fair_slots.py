"""Places for requests of batches, shared by the API keys that have some."""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict, deque


class FairSlots:
    """A semaphore whose next free slot goes to the key that holds the fewest.

    Used on the event loop alone.

    Args:
        count: The slots.
    """

    def __init__(self, count: int) -> None:
        self._free = count
        self._held = Counter[str]()
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    @property
    def held(self) -> int:
        """Slots that are taken."""
        return self._held.total()

    async def acquire(self, key: str) -> None:
        """Wait for a slot and take it."""
        if self._free and not self._waiting:
            self._take(key)
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key, deque()).append(turn)
        self._wake()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.release(key)  # it was given in the same moment
            else:
                self._leave(key, turn)
            raise

    def release(self, key: str) -> None:
        """Return a slot."""
        self._free += 1
        self._held[key] -= 1
        if not self._held[key]:
            del self._held[key]
        self._wake()

    def _wake(self) -> None:
        while self._free and self._waiting:
            key = min(self._waiting, key=self._held.__getitem__)
            turn = self._waiting[key].popleft()
            if not self._waiting[key]:
                del self._waiting[key]
            else:
                self._waiting.move_to_end(key)
            if not turn.done():
                self._take(key)
                turn.set_result(None)

    def _take(self, key: str) -> None:
        self._free -= 1
        self._held[key] += 1

    def _leave(self, key: str, turn: asyncio.Future[None]) -> None:
        line = self._waiting.get(key)
        if line is not None and turn in line:
            line.remove(turn)
            if not line:
                del self._waiting[key]
