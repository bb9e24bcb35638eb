"""A folder that appears whole or not at all."""

from __future__ import annotations

import errno
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ingot.errors import CorpusError
from ingot.files import full_disk_named, sync_folder

_IN_USE = {errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR}


def refuse_occupied(out: Path) -> None:
    """Check that a folder can be made at ``out``.

    Raises:
        CorpusError: something is there, and it is not an empty folder.
    """
    try:
        occupied = out.is_symlink() or (out.exists() and (not out.is_dir() or any(out.iterdir())))
    except OSError as error:
        raise _unusable(out, error) from error
    if occupied:
        raise CorpusError(
            "exists already and is not an empty folder",
            where=out,
            fix="open it, remove it, or choose another folder",
        )


@contextmanager
def staged_folder(out: Path) -> Iterator[Path]:
    """Give a hidden folder beside ``out`` to fill; rename it to ``out`` if the block succeeds.

    Raises:
        CorpusError: the folder cannot be made, or ``out`` has been taken meanwhile.
        ResourceError: the disk is full. In every case the hidden folder is removed.
    """
    out = out.absolute()
    try:
        with full_disk_named(out):
            out.parent.mkdir(parents=True, exist_ok=True)
            folder = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}.building-"))
    except OSError as error:
        raise _unusable(out, error) from error
    try:
        with full_disk_named(out):
            yield folder
            folder.chmod(0o755)
            sync_folder(folder)
            _rename(folder, out)
            sync_folder(out.parent)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _rename(folder: Path, out: Path) -> None:
    try:
        with full_disk_named(out):
            folder.rename(out)  # replaces an empty folder, as rename(2) does
    except OSError as error:
        if error.errno in _IN_USE:
            raise CorpusError(
                "was filled by something else meanwhile", where=out, fix="choose another folder"
            ) from error
        raise _unusable(out, error) from error


def _unusable(out: Path, error: OSError) -> CorpusError:
    return CorpusError(f"cannot be made ({error.strerror})", where=out, fix="choose another folder")
