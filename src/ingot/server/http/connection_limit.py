"""Bound on open connections, so that idle and slow ones do not shut out others."""

from __future__ import annotations

from typing import Protocol


class _Transport(Protocol):
    def close(self) -> None: ...


class Connection(Protocol):
    """An open connection."""

    @property
    def transport(self) -> _Transport:
        """What carries it."""


class ConnectionLimit:
    """Most connections that are open at once.

    At the limit a new connection takes the place of the one that has waited longest without a
    complete request: a client that opens many and sends nothing loses its own first. Used on
    the event loop alone.

    Args:
        most: The limit.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._busy: set[Connection] = set()
        self._waiting: dict[Connection, None] = {}  # the longest first

    def __len__(self) -> int:
        return len(self._busy) + len(self._waiting)

    def admit(self, connection: Connection) -> bool:
        """Take a connection; False where the limit is reached and none can be closed.

        One that was taken before its TLS handshake stays where it is.
        """
        if connection in self._waiting:
            return True
        if len(self) >= self._most:
            longest = next(iter(self._waiting), None)
            if longest is None:
                return False
            del self._waiting[longest]
            longest.transport.close()
        self._waiting[connection] = None
        return True

    def busy(self, connection: Connection) -> None:
        """Note that a complete head arrived, so that the connection is not closed for another."""
        self._waiting.pop(connection, None)
        self._busy.add(connection)

    def waiting(self, connection: Connection) -> None:
        """Note that the connection waits for its next request."""
        self._busy.discard(connection)
        self._waiting[connection] = None

    def remove(self, connection: Connection) -> None:
        """Forget a connection that is closed."""
        self._busy.discard(connection)
        self._waiting.pop(connection, None)
