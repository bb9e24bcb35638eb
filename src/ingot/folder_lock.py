"""One writer per folder: a lock that names its holder and that its holder's death releases.

The lock is the kernel's (``flock``) on a small hidden file. The kernel releases it when the
process ends, however it ends, so a file that a killed process left behind blocks nobody. The
file's content, a line of JSON with ``pid``, ``host`` and ``started``, only tells people who
holds the lock.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from ingot.errors import IngotError, ResourceError

LOCK = ".lock"
"""Name of the lock file inside a folder that is written for a long time."""
_LONGEST_CONTENT = 4096
_LARGEST_PID = 1 << 22  # Linux's own limit

_held: set[int] = set()


@contextlib.contextmanager
def folder_locked(folder: Path, error: type[IngotError], doing: str) -> Iterator[None]:
    """Hold the lock of ``folder`` inside the block.

    The folder is made if it is missing; what was made and is still empty when the block ends is
    removed.

    Args:
        folder: The folder; the lock is its file ``.lock``.
        error: What to raise if another process holds it.
        doing: What holders do to the folder, such as ``"is being trained"``.

    Raises:
        IngotError: of the class ``error``: another process holds the lock; it is named.
        ResourceError: the folder cannot be made or locked.
    """
    made = _make(folder)
    try:
        with file_locked(folder / LOCK, error, doing, where=folder):
            yield
    finally:
        for each in made:  # innermost first
            with contextlib.suppress(OSError):  # not empty
                each.rmdir()


@contextlib.contextmanager
def file_locked(
    path: Path, error: type[IngotError], doing: str, *, where: object = None
) -> Iterator[None]:
    """Hold the lock file ``path`` inside the block, for what cannot hold a file of its own.

    Args:
        path: The lock file, made here and removed at the end; its folder must exist.
        error: What to raise if another process holds it.
        doing: What holders do, such as ``"is being written"``.
        where: What is locked, for the error; ``path`` by default.

    Raises:
        IngotError: of the class ``error``: another process holds the lock; it is named.
        ResourceError: the file cannot be made or locked.
    """
    handle = _acquire(path, error, doing, where or path)
    _held.add(handle)
    try:
        yield
    finally:
        # Removed while it is still locked: who opened it meanwhile sees that it has gone.
        with contextlib.suppress(OSError):
            path.unlink()
        _held.discard(handle)
        os.close(handle)


def holder(path: Path) -> str:
    """Return who a lock file says that holds it, such as ``process 12 on host since 10:00``."""
    try:
        with _opened(path, os.O_RDONLY) as handle:
            said = json.loads(os.pread(handle, _LONGEST_CONTENT, 0))
        pid, host, started = said["pid"], said["host"], said["started"]
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return "another process"  # it has just begun or just ended, or wrote something else
    plain = isinstance(host, str) and isinstance(started, str)
    if not plain or type(pid) is not int or not 0 < pid <= _LARGEST_PID:
        return "another process"
    return f"process {pid} on {_shown(host)} since {_shown(started)}"


def _acquire(path: Path, error: type[IngotError], doing: str, where: object) -> int:
    while True:
        try:
            handle = _open(path, os.O_RDWR | os.O_CREAT)
        except OSError as cause:
            raise ResourceError(f"cannot be locked ({cause.strerror})", where=path) from cause
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as cause:
            os.close(handle)
            raise error(
                f"{doing} by {holder(path)}",
                where=where,
                fix="wait until it has ended, or end it first",
            ) from cause
        except OSError as cause:
            os.close(handle)
            raise ResourceError(
                f"cannot be locked ({cause.strerror})",
                where=path,
                fix="use a folder on a file system that supports flock",
            ) from cause
        if _is_still(path, handle):
            break
        os.close(handle)  # its holder removed it between the two calls: lock the new one
    content = {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "started": time.strftime("%Y-%m-%d %H:%M:%S %z"),
    }
    os.ftruncate(handle, 0)
    os.pwrite(handle, json.dumps(content).encode() + b"\n", 0)
    return handle


def _open(path: Path, flags: int) -> int:
    """Open a regular file, neither following a link nor waiting on a pipe."""
    flags |= os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    handle = os.open(path, flags, 0o644)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(0, "it is not a regular file")
    return handle


@contextlib.contextmanager
def _opened(path: Path, flags: int) -> Iterator[int]:
    handle = _open(path, flags)
    try:
        yield handle
    finally:
        os.close(handle)


def _is_still(path: Path, handle: int) -> bool:
    try:
        return os.path.samestat(path.stat(follow_symlinks=False), os.fstat(handle))
    except FileNotFoundError:
        return False


def _make(folder: Path) -> list[Path]:
    """Make a folder and what is missing above it; return what was made, innermost first."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as cause:
        raise ResourceError(
            f"cannot be made ({cause.strerror})", where=folder, fix="choose another folder"
        ) from cause
    return missing


def _shown(text: str) -> str:
    return "".join(character for character in text[:64] if character.isprintable())


def _release_in_child() -> None:
    """Close a forked child's copies of the handles, which would keep the locks held.

    Closing leaves the parent's lock alone: it lasts until every copy is closed.
    """
    for handle in _held:
        os.close(handle)
    _held.clear()


os.register_at_fork(after_in_child=_release_in_child)
