"""From the engine's thread to the event loop, in one wake-up for many messages."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

_Message = TypeVar("_Message")


class Mailbox(Generic[_Message]):
    """Hands messages to a receiver on the event loop, in the order in which they came.

    Waking the loop costs more than all else on a token's way, so it is done once for
    all that arrives until the loop gets to it: about once for each engine step.

    Args:
        receive: Called on the event loop with each message.
        make_way: Called with True before the loop is woken, and with False once those who
            were told have written: where the sender keeps every CPU busy, one is free meanwhile.
    """

    def __init__(
        self, receive: Callable[[_Message], None], make_way: Callable[[bool], None]
    ) -> None:
        self._receive = receive
        self._make_way = make_way
        self._loop = asyncio.get_running_loop()
        self._messages: deque[_Message] = deque()
        self._woken = False

    def put(self, message: _Message) -> None:
        """Leave a message; any thread may."""
        self._messages.append(message)
        # Only after appending: a loop that was woken before this clears the mark before it takes.
        if not self._woken:
            self._woken = True
            self._make_way(True)
            with contextlib.suppress(RuntimeError):  # the loop has closed: nobody is left to read
                self._loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        self._woken = False
        while self._messages:
            self._receive(self._messages.popleft())
        # Those who were told run in the loop's next round, and the sockets are written at its end.
        self._loop.call_soon(self._loop.call_soon, self._make_way, False)
