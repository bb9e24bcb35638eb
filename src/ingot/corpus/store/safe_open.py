"""Opening the files of a corpus folder without trusting that they are files."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from ingot.errors import CorpusError

REBUILD = "build the corpus again"


def open_regular(path: Path, *, fix: str = REBUILD) -> BinaryIO:
    """Open a regular file for reading; a pipe in its place is refused, not waited for.

    Raises:
        CorpusError: it is missing, unreadable or no regular file.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise CorpusError(f"cannot be read ({error.strerror})", where=path, fix=fix) from error
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise CorpusError("is not a regular file", where=path, fix=fix)
    return os.fdopen(handle, "rb")


def read_whole(path: Path, max_bytes: int, *, fix: str = REBUILD) -> bytes:
    """Return the bytes of a small file.

    Raises:
        CorpusError: it cannot be opened, or has more than ``max_bytes``.
    """
    with open_regular(path, fix=fix) as file:
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise CorpusError(
            f"is longer than {max_bytes} bytes, so it is damaged", where=path, fix=fix
        )
    return data
