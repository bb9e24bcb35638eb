"""Files written atomically and durably, and files read that may be pipes or oversized."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

from ingot.errors import IngotError, ResourceError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextmanager
def full_disk_named(path: Path) -> Iterator[None]:
    """Turn a full disk, quota or file-size limit met inside into a ``ResourceError``."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise ResourceError(
                f"the disk is full ({os.strerror(error.errno).lower()})",
                where=path,
                fix="free some space and run the same command again",
            ) from error
        raise


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Yield a file that replaces ``path`` when the block ends, durably, and not if it raises.

    Temporary file, fsync, rename, fsync of the folder.

    Raises:
        ResourceError: the disk is full; the old file is untouched.
    """
    with full_disk_named(path):
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            Path(name).chmod(0o644)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def write_atomic(path: Path, data: bytes) -> None:
    """Replace ``path`` by ``data``, as ``replacing`` does."""
    with replacing(path) as file:
        file.write(data)


def cache_root() -> Path:
    """Return the folder of what can be made once more: ``$XDG_CACHE_HOME/ingot``.

    Without that variable, ``~/.cache/ingot`` (XDG Base Directory Specification).
    """
    given = os.environ.get("XDG_CACHE_HOME", "")
    root = Path(given) if Path(given).is_absolute() else Path.home() / ".cache"
    return root / "ingot"


def sync_folder(path: Path) -> None:
    """Make renames and new names inside ``path`` survive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sha256_file(path: Path, error: type[IngotError]) -> str:
    """Return the SHA-256 of a regular file's bytes in hexadecimal.

    Raises:
        IngotError: of the class ``error``; the file cannot be opened or read.
    """
    with open_regular(path, error) as file:
        try:
            return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as cause:
            raise error(f"cannot be read ({cause.strerror})", where=path) from cause


def open_regular(path: Path, error: type[IngotError], *, fix: str | None = None) -> BufferedReader:
    """Open a regular file for reading; a pipe or device is refused without waiting on it.

    Raises:
        IngotError: of the class ``error``; the file is missing, unreadable or not a regular one.
    """
    try:
        # O_NONBLOCK: opening a pipe would otherwise wait for a writer.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as cause:  # ValueError: a NUL in the path
        reason = cause.strerror if isinstance(cause, OSError) else str(cause)
        raise error(f"cannot be read ({reason})", where=path, fix=fix) from cause
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise error("is not a regular file", where=path, fix=fix)
    return os.fdopen(handle, "rb")


def read_regular(
    path: Path, error: type[IngotError], *, max_bytes: int, fix: str | None = None
) -> bytes:
    """Return the bytes of a regular file of at most ``max_bytes``.

    Raises:
        IngotError: of the class ``error``; the file cannot be opened or read, is longer, or
            grows meanwhile.
    """
    with open_regular(path, error, fix=fix) as file:
        size = os.fstat(file.fileno()).st_size
        if size > max_bytes:
            raise error(f"is longer than {max_bytes:,} bytes", where=path, fix=fix)
        try:
            # Python allocates as much as it is asked for before it reads.
            data = file.read(size + 1)
        except OSError as cause:
            raise error(f"cannot be read ({cause.strerror})", where=path, fix=fix) from cause
    if len(data) > size:
        raise error("grows while it is read", where=path, fix="try again when it is written")
    return data
