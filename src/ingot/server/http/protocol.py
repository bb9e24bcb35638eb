"""uvicorn's HTTP connection with bounds on every byte and second before an answer.

Sources: RFC 9112 (HTTP/1.1), RFC 9110 section 15.2 (interim responses).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from ingot.server.config import ServerConfig
from ingot.server.http.connection_limit import ConnectionLimit
from ingot.server.http.errors import ApiError
from ingot.server.http.half_closed import HalfClosed
from ingot.server.http.http10 import without_chunks
from ingot.server.http.upgrade import without_offer

_PIECE = 16_384  # bytes parsed before the counts are looked at
_MAX_HEADERS = 256
_MAX_PIPELINED = 64
_LINGER_S = 0.1


class GuardedProtocol(HttpToolsProtocol):
    """Bounds what a connection may send before, around and after a request, and how slowly.

    uvicorn alone waits forever for a head that trickles in (slowloris), keeps all of it, and
    all of a body's trailers; it reads pipelined requests faster than it answers them, and waits
    forever for a client that does not read and for the rest of a body that was answered.

    Bytes that are not content (request line, fields, chunk extensions, trailers) share
    ``max_head_bytes``. An idle connection between requests has uvicorn's keep-alive deadline.

    Args:
        limits: The limits.
        open_connections: Bound on connections, shared by all of them.
        args: uvicorn's.
        kwargs: uvicorn's.
    """

    def __init__(
        self, limits: ServerConfig, open_connections: ConnectionLimit, *args: Any, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._limits = limits
        self._open_connections = open_connections
        self._in_head = True
        self._in_body = False
        self._stopping = False
        self._deaf = False  # what still comes belongs to no request
        self._overhead = 0  # bytes of this message that are not content
        self._head_size = 0
        self._chunk_size = 0
        self._plain_head = b""  # of a request that offers another protocol, without the offer
        self._unread = 0  # bytes that arrived for nobody: after the answer, or while deaf
        self._read_deadline: asyncio.TimerHandle | None = None
        self._write_deadline: asyncio.TimerHandle | None = None
        self._half_closed: HalfClosed | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the deadline of the first head, if one more connection may be open."""
        super().connection_made(transport)
        if self._open_connections.admit(self):
            self._begin_head()
        else:
            self._refuse(503, "too many connections are open; try again", "too_many_connections")

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the deadlines."""
        self._open_connections.remove(self)
        self._stop_waiting()
        if self._write_deadline is not None:
            self._write_deadline.cancel()
        if self._half_closed is not None:
            self._half_closed.stop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what arrived, within the limits."""
        self._unset_keepalive_if_required()
        for start in range(0, len(data), _PIECE):
            if self.transport.is_closing():
                return
            self._parse(data[start : start + _PIECE])

    def eof_received(self) -> bool:  # type: ignore[override]
        """Keep a connection that is half closed while its requests are answered; not under TLS."""
        if self.scheme == "https" or self._in_head or self._in_body or self._is_answered():
            return False
        self.cycle.keep_alive = False
        self._half_closed = HalfClosed(self.loop, self.transport, self._may_probe)
        return True

    def shutdown(self) -> None:
        """Close unless a complete request waits for its answer."""
        self._stopping = True
        # The rest of a body may take as long as body_timeout_s, and the client can ask elsewhere.
        if not self._in_body or self._is_answered():
            super().shutdown()
        elif self.pipeline:
            self._deaf = True
            self.pipeline.popleft()  # those before it are answered
        else:
            self._refuse(503, "the server is stopping", "stopping")

    def on_message_begin(self) -> None:
        """Start the deadline of a head, unless it runs already."""
        if len(self.pipeline) >= _MAX_PIPELINED:
            self.cycle.keep_alive = False  # so the client knows that the rest was not read
            self._deaf = True
            raise _StopParsingError
        super().on_message_begin()
        if not self._in_head:
            self._begin_head()
        self._head_size = 0

    def on_url(self, url: bytes) -> None:
        """Take part of the request line."""
        self._count_head(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a field of the head; drop one of a trailer, which says nothing here.

        A trailer must not pass for a field of the head, such as a key (RFC 9110, 6.5.1).
        """
        if self._in_body:
            return
        self._count_head(len(name) + len(value) + 4)
        if len(self.headers) >= _MAX_HEADERS:
            self._refuse(431, f"the request has over {_MAX_HEADERS} headers", "head_too_large")
            raise _StopParsingError
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Note that a head is complete."""
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                self._refuse(405, "CONNECT is not allowed; this is not a proxy", "not_a_proxy")
                raise _StopParsingError
            self._plain_head = without_offer(self.parser.get_method(), self.url, self.headers)
            return
        self._stop_waiting()
        self._open_connections.busy(self)
        self._in_head, self._in_body = False, True
        self._overhead = self._unread = 0
        super().on_headers_complete()

    def on_chunk_header(self) -> None:
        """Begin to count a chunk."""
        self._chunk_size = 0

    def on_body(self, body: bytes) -> None:
        """Take content."""
        self._overhead -= len(body)
        self._chunk_size += len(body)
        super().on_body(body)

    def on_chunk_complete(self) -> None:
        """Allow a chunk its size line and line ends."""
        self._overhead -= len(b"%x\r\n\r\n" % self._chunk_size)

    def on_message_complete(self) -> None:
        """Note that a body is complete."""
        if self._plain_head:
            return
        self._in_body = False
        self._overhead = 0
        if not self._in_head:
            self._stop_waiting()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Continue with the next request, and stop reading while others wait."""
        super().on_response_complete()
        if self.pipeline:
            self.flow.pause_reading()
        elif self._stopping:
            self.transport.close()
        elif self._is_answered():
            self._open_connections.waiting(self)

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

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        if cycle.scope["http_version"] == "1.0":
            app = without_chunks(app, cycle)
        super()._start_asgi_task(cycle, app)

    def _parse(self, piece: bytes) -> None:
        """Parse one piece, then compare the counts with the limits."""
        if self._deaf or (self._in_body and self._is_answered()):
            self._unread += len(piece)
            if self._unread > self._limits.max_body_bytes:
                self.transport.close()
                return
        if self._deaf:
            return
        if self._read_deadline is None and self._is_answered():
            if self._in_body:
                self._wait(self._limits.body_timeout_s, self.transport.close)
            else:
                self._begin_head()  # also for blank lines, which begin no message
        self._overhead += len(piece)
        self._feed(piece)
        # Less than 0 where content came in one piece with its head.
        self._overhead = max(0, self._overhead)
        if self._overhead > self._limits.max_head_bytes and not self._deaf:
            self._refuse(431, *_TOO_LONG)

    def _feed(self, piece: bytes) -> None:
        """Give the parser a piece."""
        try:
            self.parser.feed_data(piece)
        except httptools.HttpParserUpgrade as upgrade:
            self.parser = httptools.HttpRequestParser(self)
            head, self._plain_head = self._plain_head, b""
            self._feed(head + piece[upgrade.args[0] :])
        except httptools.HttpParserError:
            if not self._deaf:  # else a callback stopped the parser for a reason of its own
                self._refuse(400, "the request is not valid HTTP/1.1", "invalid_http")

    def _count_head(self, size: int) -> None:
        """Count part of a head as soon as it is known to belong to it."""
        self._head_size += size
        if self._head_size > self._limits.max_head_bytes:
            self._refuse(431, *_TOO_LONG)
            raise _StopParsingError

    def _is_answered(self) -> bool:
        return self.cycle is not None and bool(self.cycle.response_complete)

    def _begin_head(self) -> None:
        self._in_head = True
        self._overhead = 0
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
        if self._overhead == 0:
            self.transport.close()  # no request was begun, so there is nothing to answer
        else:
            self._refuse(408, f"the request's head did not come within {limit:g} s", "head_timeout")

    def _may_probe(self) -> bool:
        """Tell whether an interim response may be sent: nothing of an answer has been yet."""
        return (
            not self.pipeline
            and not self.cycle.response_started
            and self.cycle.scope["http_version"] != "1.0"
        )

    def _may_answer(self) -> bool:
        """Tell whether the next bytes sent would be the answer to what is being read."""
        if self._in_head:
            return self.cycle is None or self.cycle.response_complete
        return not self.pipeline and not self.cycle.response_started

    def _refuse(self, status: int, message: str, code: str) -> None:
        """Stop reading and close, after an error where one can be told."""
        self._deaf = True
        self._stop_waiting()
        if self.transport.is_closing():
            return
        if not self._may_answer():
            self.transport.close()
            return
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True  # the application must not answer as well
            self.cycle.message_event.set()
        body = ApiError(status, message, code=code).body.to_json()
        head = (
            f"HTTP/1.1 {status} Refused\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        # Not at once: closing before all is read resets the connection, and the client may lose
        # the answer. It also makes one that does this in a loop wait most of the time.
        self.flow.pause_reading()
        self.loop.call_later(_LINGER_S, self.transport.close)


_TOO_LONG = "the request's head is too long", "head_too_large"


class _StopParsingError(Exception):
    """Ends the parser's work on a piece; it reports any exception as one of its own."""
