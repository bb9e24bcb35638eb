"""Acceptance of TLS connections, whose handshakes are bounded in number and time."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import ssl
from collections.abc import Callable, Coroutine, Iterable
from functools import partial

from ingot.server.http.connection_limit import ConnectionLimit
from ingot.server.http.protocol import GuardedProtocol

_NO_DESCRIPTORS_S = 0.1
"""Pause where the process has as many open files as it may."""


class TlsServer:
    """What asyncio's server is for plain HTTP.

    asyncio reports a TLS connection when its handshake is done. Until then a client would hold a
    socket and memory that nobody has counted. Here each socket is counted when it is accepted.

    Args:
        context: The server's certificate.
        timeout_s: Most seconds for a handshake.
        open_connections: Bound on connections.
        make: Makes the protocol of a connection.
    """

    def __init__(
        self,
        context: ssl.SSLContext,
        timeout_s: float,
        open_connections: ConnectionLimit,
        make: Callable[[], GuardedProtocol],
    ) -> None:
        self._context = context
        self._timeout_s = timeout_s
        self._open_connections = open_connections
        self._make = make
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, listeners: Iterable[socket.socket]) -> None:
        """Accept connections until ``close``; call on the event loop."""
        for listener in listeners:
            listener.setblocking(False)
            self._spawn(self._accept(listener))

    def close(self) -> None:
        """Accept no more, and end the handshakes that are not done."""
        for task in self._tasks:
            task.cancel()

    async def wait_closed(self) -> None:
        """Wait until they have ended."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, _ = await loop.sock_accept(listener)
            except OSError as error:  # the client has left already, or:
                if error.errno in {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}:
                    await asyncio.sleep(_NO_DESCRIPTORS_S)
                continue
            protocol = self._make()
            task = self._spawn(self._shake_hands(protocol, accepted))
            task.add_done_callback(partial(self._end, protocol, accepted))
            protocol.transport = _Handshake(task)  # type: ignore[assignment]
            if not self._open_connections.admit(protocol):
                task.cancel()  # without TLS nothing can be answered

    async def _shake_hands(self, protocol: GuardedProtocol, accepted: socket.socket) -> None:
        with contextlib.suppress(OSError):  # refused, too slow or gone; ssl.SSLError is one as well
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: protocol,
                accepted,
                ssl=self._context,
                ssl_handshake_timeout=self._timeout_s,
            )

    def _end(
        self, protocol: GuardedProtocol, accepted: socket.socket, _: asyncio.Task[None]
    ) -> None:
        """Forget a connection whose handshake failed; also one that was closed before it began."""
        if isinstance(protocol.transport, _Handshake):
            self._open_connections.remove(protocol)
            with contextlib.suppress(OSError):
                accepted.shutdown(socket.SHUT_RDWR)  # the event loop's transport may still have it
            accepted.close()


class _Handshake:
    """What carries a connection until its handshake is done."""

    def __init__(self, task: asyncio.Task[None]) -> None:
        self._task = task

    def close(self) -> None:
        """End the handshake."""
        self._task.cancel()
