"""Opening of corpus files that may turn out to be pipes, devices or oversized."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from ingot.errors import CorpusError

REBUILD = "build the corpus again"


def safe_open(path: Path, *, fix: str = REBUILD) -> BinaryIO:
    """Open a regular file for reading; a pipe or device is refused without waiting on it.

    Raises:
        CorpusError: the file is missing, unreadable or not a regular file.
    """
    try:
        # O_NONBLOCK: opening a pipe would otherwise wait for a writer.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise CorpusError(f"cannot be read ({error.strerror})", where=path, fix=fix) from error
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise CorpusError("is not a regular file", where=path, fix=fix)
    return os.fdopen(handle, "rb")


def read_whole(path: Path, max_bytes: int, *, fix: str = REBUILD) -> bytes:
    """Return the contents of a small file.

    Raises:
        CorpusError: the file cannot be opened, or has more than ``max_bytes``.
    """
    with safe_open(path, fix=fix) as file:
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise CorpusError(
            f"is longer than {max_bytes} bytes, so it is damaged", where=path, fix=fix
        )
    return data
