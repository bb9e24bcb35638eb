"""Connections whose client has ended its side: it may be gone, or wait for its answer."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

_LOOK_S = 0.1
_FIRST_PROBE_S = 0.1
_INTERIM = b"HTTP/1.1 100 Continue\r\n\r\n"
_TCP_CLOSE = 7  # state of a connection that was reset; include/net/tcp_states.h of Linux


class HalfClosed:
    """Watch over a half-closed connection until its answer is sent.

    To TCP a client that left and one that only ended its side look alike, until something is
    sent: the one that left resets the connection. So an interim response is sent, which any
    client must skip (RFC 9110, 15.2), at intervals that double. Where none may be sent, the
    answer itself finds out.

    Args:
        loop: The event loop.
        transport: The connection.
        may_probe: Tells whether an interim response may be sent now.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        transport: asyncio.Transport,
        may_probe: Callable[[], bool],
    ) -> None:
        self._loop = loop
        self._transport = transport
        self._may_probe = may_probe
        self._next_probe = loop.time()
        self._pause = _FIRST_PROBE_S
        self._timer: asyncio.TimerHandle = loop.call_later(0, self._look)

    def stop(self) -> None:
        """Look no more."""
        self._timer.cancel()

    def _look(self) -> None:
        if self._transport.is_closing():
            return
        if self._is_reset():
            self._transport.abort()
            return
        if self._loop.time() >= self._next_probe and self._may_probe():
            self._transport.write(_INTERIM)
            self._next_probe = self._loop.time() + self._pause
            self._pause *= 2
        self._timer = self._loop.call_later(_LOOK_S, self._look)

    def _is_reset(self) -> bool:
        """Tell whether the peer reset the connection; libuv does not look after the end."""
        peer: socket.socket | None = self._transport.get_extra_info("socket")
        if peer is None or peer.family not in (socket.AF_INET, socket.AF_INET6):
            return False
        return peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _TCP_CLOSE
