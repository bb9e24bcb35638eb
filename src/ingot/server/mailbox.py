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
    """

    def __init__(self, receive: Callable[[_Message], None]) -> None:
        self._receive = receive
        self._loop = asyncio.get_running_loop()
        self._messages: deque[_Message] = deque()
        self._woken = False

    def put(self, message: _Message) -> None:
        """Leave a message; any thread may."""
        self._messages.append(message)
        # Only after appending: a loop that was woken before this clears the mark before it takes.
        if not self._woken:
            self._woken = True
            with contextlib.suppress(RuntimeError):  # the loop has closed: nobody is left to read
                self._loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        self._woken = False
        while self._messages:
            self._receive(self._messages.popleft())
