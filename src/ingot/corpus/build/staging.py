"""Atomic creation of a folder, staged in a hidden one that survives a crash."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from ingot.errors import CorpusError, Interrupted, ResourceError
from ingot.files import full_disk_named, sync_folder
from ingot.folder_lock import file_locked

_IN_USE = {errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR}
_SUFFIX = ".building"
_LOCK = "lock"
_RESULT = "result"
_STATE = "build_state.sqlite"
_KEPT = "kept"
_ABANDONED_SECONDS = 7 * 24 * 3600


@dataclass(slots=True)
class StagingDir:
    """The hidden folder beside ``out`` in which ``out`` is made.

    Attributes:
        path: The hidden folder; the next build of ``out`` finds what a crash left here.
        keep: Whether the folder holds a state to resume from if the build stops.
    """

    path: Path
    keep: bool = False

    @property
    def result(self) -> Path:
        """The folder inside that becomes ``out``."""
        return self.path / _RESULT

    @property
    def state_file(self) -> Path:
        """The SQLite file that holds the state of the build."""
        return self.path / _STATE

    def keep_as(self, what: str) -> None:
        """Keep the folder if the build stops, and say what it holds, such as ``first pass``."""
        self.keep = True
        (self.path / _KEPT).write_text(what)

    def what_is_kept(self) -> str:
        """Return what a stopped build has left, as a clause for a user; safe in any thread."""
        try:
            return f"kept: {(self.path / _KEPT).read_text()}"
        except OSError:
            return "nothing was kept, as it had just begun"

    def clear(self) -> None:
        """Remove what an earlier build left, except the lock and spooled input."""
        shutil.rmtree(self.result, ignore_errors=True)
        for leftover in self.path.glob(f"{self.state_file.name}*"):
            leftover.unlink()
        (self.path / _KEPT).unlink(missing_ok=True)
        self.result.mkdir(exist_ok=True)
        self.keep = False


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
        hidden = _hidden(out.absolute())
        if not (hidden / _RESULT).exists():  # killed between renaming and removing
            _remove_leftover(hidden)
        raise CorpusError(
            "exists already and is not an empty folder",
            where=out,
            fix="open it, remove it, or choose another folder",
        )


@contextmanager
def staging_dir(out: Path) -> Iterator[StagingDir]:
    """Provide a hidden folder beside ``out``; rename its ``result`` to ``out`` on success.

    The hidden folder is named after ``out`` and locked, so the next build of
    ``out`` resumes what a killed one left. It is removed on success and
    whenever ``keep`` is not set at the end; folders that other builds beside
    it abandoned a week ago are removed too.

    Raises:
        CorpusError: the folder cannot be made, another process is building in it,
            or ``out`` has been created meanwhile.
        ResourceError: the disk is full.
    """
    out = out.absolute()
    hidden = _hidden(out)
    with ExitStack() as held:
        try:
            with full_disk_named(out):
                out.parent.mkdir(parents=True, exist_ok=True)
                _remove_abandoned(out.parent)
                held.enter_context(_locked(hidden, out))
        except OSError as error:
            raise _unusable(out, error) from error
        staging = StagingDir(hidden)
        staging.keep = staging.state_file.exists()
        try:
            with full_disk_named(out):
                staging.result.mkdir(exist_ok=True)
                for half_written in staging.result.glob(".*"):  # a kill inside ``files.replacing``
                    half_written.unlink()
                yield staging
                staging.result.chmod(0o755)
                sync_folder(staging.result)
                _rename(staging.result, out)
                sync_folder(out.parent)
            staging.keep = False
        finally:
            if not staging.keep:
                shutil.rmtree(hidden, ignore_errors=True)


def stopped_build(out: Path) -> Interrupted:
    """Return the error for a build of ``out`` that was stopped: what was kept, and how to resume.

    Safe in any thread, also while the build runs.
    """
    kept = StagingDir(_hidden(out.absolute())).what_is_kept()
    return Interrupted(
        f"the build was stopped; {kept}", where=out, fix="run the same command again to resume"
    )


def _hidden(out: Path) -> Path:
    return out.parent / f".{out.name}{_SUFFIX}"


@contextmanager
def _locked(folder: Path, out: Path) -> Iterator[None]:
    """Create the hidden folder if needed and hold its lock inside the block.

    Raises:
        OSError: it cannot be made.
        CorpusError: another process holds the lock, or what is there is not a folder of
            this user's.
    """
    with ExitStack() as held:
        while True:
            folder.mkdir(mode=0o700, exist_ok=True)
            status = folder.lstat()
            if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
                raise CorpusError("is in the way", where=folder, fix="remove it")
            try:
                held.enter_context(
                    file_locked(folder / _LOCK, CorpusError, "is being built", where=out)
                )
                break
            except ResourceError:
                if folder.exists():
                    raise
                # Another process has just removed the folder.
        yield


def _remove_abandoned(parent: Path) -> None:
    """Remove hidden folders that have been unchanged for a week."""
    for folder in parent.glob(f".*{_SUFFIX}"):
        try:
            touched = max(path.lstat().st_mtime for path in (folder, *folder.iterdir()))
        except OSError:
            continue
        if time.time() - touched > _ABANDONED_SECONDS:
            _remove_leftover(folder)


def _remove_leftover(folder: Path) -> None:
    """Remove a hidden folder if it is a staging folder and no process holds its lock."""
    ours = any((folder / name).exists() for name in (_LOCK, _RESULT, _STATE))
    if folder.is_symlink() or not ours:
        return
    with suppress(OSError, CorpusError, ResourceError), _locked(folder, folder):
        shutil.rmtree(folder, ignore_errors=True)


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
