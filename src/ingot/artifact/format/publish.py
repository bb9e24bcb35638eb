"""Atomic publication of a finished folder by one rename."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ingot.files import sync_folder

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_UNSUPPORTED = {errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP}


@contextmanager
def temporary_beside(out: Path) -> Iterator[Path]:
    """Make a folder beside ``out``, on the same file system; remove it if the block fails."""
    folder = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}."))
    try:
        yield folder
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def publish(finished: Path, target: Path) -> None:
    """Move the folder ``finished`` to ``target`` beside it, replacing a folder that is there.

    A crash leaves the old folder or the new one at ``target``, never a mixture.
    """
    if target.exists():
        try:
            _exchange(finished, target)
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
            replace_by_two_renames(finished, target)
        else:
            shutil.rmtree(finished, ignore_errors=True)  # the new one is in place already
    else:
        finished.rename(target)
    sync_folder(target.parent)


def replace_by_two_renames(finished: Path, target: Path) -> None:
    """Replace ``target`` where the file system cannot exchange two names.

    A crash between the two renames leaves the old folder whole, under the name
    of the temporary folder beside it.
    """
    aside = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}.old."))
    target.rename(aside / target.name)
    try:
        finished.rename(target)
    except BaseException:
        (aside / target.name).rename(target)
        aside.rmdir()
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _exchange(first: Path, second: Path) -> None:
    """Swap two names atomically (Linux ``renameat2``)."""
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "renameat2"):  # C libraries other than glibc may lack it
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), str(second))
    result = libc.renameat2(
        _AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), _RENAME_EXCHANGE
    )
    if result:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(second))
