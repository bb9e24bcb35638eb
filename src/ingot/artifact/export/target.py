"""Where an export is put: a folder or a file that appears whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ingot.artifact.format.publish import publish, temporary_beside
from ingot.errors import UsageError
from ingot.files import full_disk_named, replacing, sync_folder

Progress = Callable[[int, int], object]
"""Called with the bytes written so far and all bytes."""


@dataclass(frozen=True)
class Exported:
    """What an export wrote."""

    path: Path
    kind: str
    """The number format of its matrices, such as "Q8_0"."""
    bytes: int
    """Bytes of its weights."""
    notes: tuple[str, ...] = ()
    """What differs from the ingot, a sentence each."""


class Counter:
    """Counts written bytes and reports them."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self.total, self._progress, self._done = total, progress, 0

    def __call__(self, count: int) -> None:
        """Count further bytes."""
        self._done += count
        if self._progress:
            self._progress(self._done, self.total)


@contextmanager
def new_folder(
    out: Path, *, overwrite: bool, marker: str, belongs: Callable[[str], bool]
) -> Iterator[Path]:
    """Yield a folder that is put at ``out`` when the block ends, and not if it raises.

    Args:
        out: The folder to make; its parent must exist.
        overwrite: Replace an earlier export that is there.
        marker: A file that every export of this kind has.
        belongs: Whether an export of this kind may have a file of this name.

    Raises:
        UsageError: something is at ``out`` that is not to be replaced, or it cannot be written.
        ResourceError: the disk is full.
    """
    _check_folder(out, overwrite, marker, belongs)
    try:
        with full_disk_named(out), temporary_beside(out) as folder:
            yield folder
            folder.chmod(0o755)
            sync_folder(folder)
            publish(folder, out)
    except OSError as error:
        raise _not_writable(out, error) from error


@contextmanager
def new_file(out: Path, *, overwrite: bool, magic: bytes) -> Iterator[BinaryIO]:
    """Yield a file that is put at ``out`` when the block ends, and not if it raises.

    Args:
        out: The file to make; its folder must exist.
        overwrite: Replace a file that begins with ``magic``.
        magic: The first bytes of every file of this kind.

    Raises:
        UsageError: something is at ``out`` that is not to be replaced, or it cannot be written.
        ResourceError: the disk is full.
    """
    _check_free(out, overwrite)
    if os.path.lexists(out):
        if out.is_dir():
            raise UsageError("is a folder", where=out, fix="name a file")
        if out.is_symlink() or not out.is_file() or _beginning(out, len(magic)) != magic:
            raise UsageError(
                "is another kind of file, so it is not overwritten",
                where=out,
                fix="choose another name",
            )
    try:
        with replacing(out) as file:
            yield file
    except OSError as error:
        raise _not_writable(out, error) from error


def _check_free(out: Path, overwrite: bool) -> None:
    if not out.parent.is_dir():
        raise UsageError("the folder to put it in does not exist", where=out, fix="make it first")
    if os.path.lexists(out) and not overwrite:
        raise UsageError("exists already", where=out, fix="choose another name, or add --overwrite")


def _check_folder(out: Path, overwrite: bool, marker: str, belongs: Callable[[str], bool]) -> None:
    _check_free(out, overwrite)
    if not os.path.lexists(out):
        return
    if out.is_symlink() or not (out / marker).is_file():
        raise UsageError(
            "is not an export of this kind, so it is not overwritten",
            where=out,
            fix="choose another name",
        )
    for name in sorted(path.name for path in out.iterdir()):
        if not belongs(name):
            raise UsageError(
                f"holds {name[:80]!r}, which is not part of an export, so it is not overwritten",
                where=out,
                fix="move that away, or choose another name",
            )


def _beginning(path: Path, count: int) -> bytes:
    with path.open("rb") as file:
        return file.read(count)


def _not_writable(out: Path, error: OSError) -> UsageError:
    return UsageError(
        f"cannot be written ({error.strerror})", where=out, fix="choose another place"
    )
