"""uvicorn's HTTP connection with deadlines for heads, bodies and slow readers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ingot.server.config import ServerConfig
from ingot.server.http.errors import ApiError


class GuardedProtocol(HttpToolsProtocol):
    """Closes connections that send too slowly or too long a head, or do not read.

    uvicorn alone waits forever for a head that trickles in (slowloris), keeps all of
    it, and waits as long as the request may last for a client that does not read. It
    also waits forever for the rest of a body that was answered already.
    An idle connection between requests has uvicorn's keep-alive deadline.

    Args:
        limits: The deadlines.
        args: uvicorn's.
        kwargs: uvicorn's.
    """

    def __init__(self, limits: ServerConfig, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._limits = limits
        self._in_head = True
        self._in_body = False
        self._head_bytes = 0
        self._read_deadline: asyncio.TimerHandle | None = None
        self._write_deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the deadline of the first head."""
        super().connection_made(transport)
        self._begin_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the deadlines."""
        self._stop_waiting()
        if self._write_deadline is not None:
            self._write_deadline.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what arrived, within the limit of a head's length."""
        if self._read_deadline is None and self._is_answered():
            if self._in_body:
                self._wait(self._limits.body_timeout_s, self.transport.close)
            else:
                self._begin_head()  # also for blank lines, which begin no message
        if self._in_head:
            # Also counts what follows the head in the same read, which is less than one read.
            self._head_bytes += len(data)
            if self._head_bytes - len(data) > self._limits.max_head_bytes:
                self._refuse(431, "the request's head is too long", "head_too_large")
                return
        super().data_received(data)

    def on_message_begin(self) -> None:
        """Start the deadline of a head, unless it runs already."""
        super().on_message_begin()
        if not self._in_head:
            self._begin_head()

    def on_headers_complete(self) -> None:
        """Note that a head is complete."""
        self._stop_waiting()
        self._in_head, self._in_body = False, True
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Note that a body is complete."""
        self._in_body = False
        if not self._in_head:
            self._stop_waiting()
        super().on_message_complete()

    def pause_writing(self) -> None:
        """Start the deadline of a client that does not read."""
        super().pause_writing()
        self._write_deadline = self.loop.call_later(
            self._limits.write_timeout_s, self.transport.abort
        )

    def resume_writing(self) -> None:
        """Note that the client reads again."""
        if self._write_deadline is not None:
            self._write_deadline.cancel()
            self._write_deadline = None
        super().resume_writing()

    def _is_answered(self) -> bool:
        return self.cycle is not None and bool(self.cycle.response_complete)

    def _begin_head(self) -> None:
        self._in_head = True
        self._head_bytes = 0
        self._wait(self._limits.header_timeout_s, self._too_slow)

    def _wait(self, seconds: float, then: Callable[[], None]) -> None:
        """Call ``then`` after ``seconds`` unless cancelled; replaces the deadline before."""
        self._stop_waiting()
        self._read_deadline = self.loop.call_later(seconds, then)

    def _stop_waiting(self) -> None:
        if self._read_deadline is not None:
            self._read_deadline.cancel()
            self._read_deadline = None

    def _too_slow(self) -> None:
        limit = self._limits.header_timeout_s
        if self._head_bytes == 0:
            self.transport.close()  # no request was begun, so there is nothing to answer
        else:
            self._refuse(408, f"the request's head did not come within {limit:g} s", "head_timeout")

    def _refuse(self, status: int, message: str, code: str) -> None:
        """Answer with an error and close; nothing else has been sent for this request."""
        if self.transport.is_closing():
            return
        body = orjson.dumps(ApiError(status, message, code=code).body)
        head = (
            f"HTTP/1.1 {status} Refused\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()
