"""Listening on a Unix socket, which the permissions of a file protect."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from pathlib import Path

from ingot.errors import ServeError

_MODE_MASK = 0o117  # owner and group may connect


def listen_unix(path: Path, backlog: int) -> socket.socket:
    """Listen on a new Unix socket at ``path``; one that nobody listens on is replaced.

    Raises:
        ServeError: the path is in use, or cannot be had.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_stale(path)
        before = os.umask(_MODE_MASK)
        try:
            listener.bind(str(path))
        finally:
            os.umask(before)
        listener.listen(backlog)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        listener.close()
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        used = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
        raise ServeError(
            "is in use" if used else f"cannot be listened on ({reason})",
            where=path,
            fix="choose another path",
        ) from error
    return listener


def _remove_stale(path: Path) -> None:
    """Remove a socket that its server left behind."""
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.stat().st_mode):
            raise OSError(errno.EADDRINUSE, "a file is there")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
            if other.connect_ex(str(path)) != errno.ECONNREFUSED:
                raise OSError(errno.EADDRINUSE, "another server listens there")
        path.unlink()
