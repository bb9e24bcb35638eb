"""Stored responses: turns of conversations that later requests continue by id.

They are kept in memory alone, bounded in bytes and in time, and belong to the key
that asked for them. When space is short, the key that holds most gives up what it
used longest ago, so no key can displace another's conversations.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from ingot.server.config import ServerConfig

_OVERHEAD_BYTES = 2048  # of the objects around one response's bytes


@dataclass(frozen=True)
class StoredResponse:
    """One turn: what was asked and answered."""

    id: str
    previous_id: str | None
    """The turn before it."""
    input_items: bytes
    """This turn's own input items, a JSON list; each has an id."""
    body: bytes
    """The answer, as it was sent."""
    output_ids: tuple[str, ...]
    """Ids of the answer's items."""

    @property
    def size(self) -> int:
        """Bytes of memory that it takes, at most."""
        return len(self.input_items) + len(self.body) + _OVERHEAD_BYTES


@dataclass
class _Kept:
    response: StoredResponse
    last_used: float


class ResponseStore:
    """The stored responses of all keys. Used on the event loop alone.

    Args:
        config: ``response_store_bytes`` bounds all responses together, and
            ``response_lifetime_s`` the time that each is kept after its last use.
        clock: Seconds from any origin.
    """

    def __init__(self, config: ServerConfig, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_bytes = config.response_store_bytes
        self._lifetime_s = config.response_lifetime_s
        self._clock = clock
        self._kept: dict[str, OrderedDict[str, _Kept]] = {}  # by owner; least recently used first
        self._bytes: dict[str, int] = {}
        self._items: dict[tuple[str, str], str] = {}  # owner and item's id to its response's id
        self._timer: asyncio.TimerHandle | None = None

    @property
    def enabled(self) -> bool:
        """Whether responses are stored at all."""
        return self._max_bytes > 0

    @property
    def size(self) -> int:
        """Bytes of all stored responses."""
        return sum(self._bytes.values())

    def put(self, owner: str, response: StoredResponse) -> None:
        """Keep a response; one that is larger than the whole store is not kept."""
        self._forget_old()
        if response.size > self._max_bytes:
            return
        self._kept.setdefault(owner, OrderedDict())[response.id] = _Kept(response, self._clock())
        self._bytes[owner] = self._bytes.get(owner, 0) + response.size
        for item_id in response.output_ids:
            self._items[owner, item_id] = response.id
        while self.size > self._max_bytes:
            largest = max(self._bytes, key=self._bytes.__getitem__)
            self._remove(largest, next(iter(self._kept[largest])))
        self._set_timer()

    def get(self, owner: str, response_id: str) -> StoredResponse | None:
        """Return a response of this owner, which counts as a use."""
        self._forget_old()
        if owner not in self._kept or response_id not in self._kept[owner]:
            return None
        kept = self._kept[owner][response_id]
        kept.last_used = self._clock()
        self._kept[owner].move_to_end(response_id)
        return kept.response

    def chain(self, owner: str, response_id: str) -> list[StoredResponse] | None:
        """Return a response and all turns before it, oldest first; None if one is not stored."""
        found: list[StoredResponse] = []
        next_id: str | None = response_id
        while next_id is not None:
            # Each use makes the earlier turn the more recent, so a chain loses its end first.
            response = self.get(owner, next_id)
            if response is None:
                return None
            found.append(response)
            next_id = response.previous_id
        return found[::-1]

    def holder(self, owner: str, item_id: str) -> StoredResponse | None:
        """Return the response of this owner whose answer holds an item."""
        response_id = self._items.get((owner, item_id))
        return self.get(owner, response_id) if response_id else None

    def delete(self, owner: str, response_id: str) -> bool:
        """Forget a response; return whether there was one."""
        self._forget_old()
        if response_id not in self._kept.get(owner, {}):
            return False
        self._remove(owner, response_id)
        return True

    def _remove(self, owner: str, response_id: str) -> None:
        response = self._kept[owner].pop(response_id).response
        self._bytes[owner] -= response.size
        for item_id in response.output_ids:
            self._items.pop((owner, item_id), None)
        if not self._kept[owner]:
            del self._kept[owner], self._bytes[owner]

    def _forget_old(self) -> None:
        oldest = self._clock() - self._lifetime_s
        for owner in list(self._kept):
            # Least recently used first, so the first that is young ends it.
            while owner in self._kept:
                response_id, kept = next(iter(self._kept[owner].items()))
                if kept.last_used > oldest:
                    break
                self._remove(owner, response_id)

    def _set_timer(self) -> None:
        """Have old responses forgotten although nothing is asked."""
        if self._timer is None and self._kept:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._lifetime_s, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._forget_old()
        self._set_timer()
