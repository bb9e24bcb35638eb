"""A foreign model's folder: its files opened once, digested, and held to what they were."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from pathlib import Path
from typing import Self

from ingot.artifact.format.manifest import FileRecord
from ingot.errors import ArtifactError

_CHUNK = 1 << 20
_BLOB = re.compile(r"\.\./\.\./(blobs)/([0-9a-f]{40}|[0-9a-f]{64})")
"""What files of a snapshot in huggingface_hub's cache link to."""


class SourceFolder:
    """An open folder of a model that others made.

    Every file is opened once, without following links, and kept open. Two kinds of names are
    followed: the folder itself may be a link, and a file of a snapshot in huggingface_hub's cache
    is a link to a blob of the same repository.

    Raises:
        ArtifactError: it is not a folder, or cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._open: dict[str, int] = {}
        self._status: dict[str, os.stat_result] = {}
        try:
            self._handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except (OSError, ValueError) as error:  # ValueError: a NUL in the path
            reason = error.strerror if isinstance(error, OSError) else error
            raise ArtifactError(
                f"is not a folder with a model ({reason})", where=path, fix="check the path"
            ) from error
        try:
            with os.scandir(self._handle) as entries:
                self.names = frozenset(entry.name for entry in entries)
        except OSError as error:
            os.close(self._handle)
            raise ArtifactError(f"cannot be listed ({error.strerror})", where=path) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for handle in (*self._open.values(), self._handle):
            os.close(handle)

    def handle(self, name: str) -> int:
        """Return the handle of a regular file, which stays the folder's own to close.

        Raises:
            ArtifactError: it is missing, a link out of the folder, or not a regular file.
        """
        if name in self._open:
            return self._open[name]
        where = self.path / name
        # Non-blocking, because opening a named pipe would otherwise wait for ever.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            status = os.stat(name, dir_fd=self._handle, follow_symlinks=False)
            target = self._blob(name) if stat.S_ISLNK(status.st_mode) else name
            handle = os.open(target, flags, dir_fd=self._handle)
        except FileNotFoundError as error:
            raise ArtifactError("is missing", where=where, fix="fetch the model again") from error
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise ArtifactError(f"cannot be opened ({reason})", where=where) from error
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            os.close(handle)
            raise ArtifactError("is not a regular file", where=where)
        self._open[name], self._status[name] = handle, status
        return handle

    def read(self, name: str, *, max_bytes: int) -> bytes:
        """Return a small file's bytes.

        Raises:
            ArtifactError: as ``handle``; or it is larger than ``max_bytes``.
        """
        handle = self.handle(name)
        size = self._status[name].st_size
        if size > max_bytes:
            raise ArtifactError(
                f"has {size:,} bytes, more than {max_bytes:,}", where=self.path / name
            )
        try:
            data = os.pread(handle, size + 1, 0)
        except OSError as error:
            raise ArtifactError(
                f"cannot be read ({error.strerror})", where=self.path / name
            ) from error
        if len(data) != size:
            raise self._changed(name)
        return data

    def digests(self) -> dict[str, FileRecord]:
        """Return size and SHA-256 of every file that was opened.

        Raises:
            ArtifactError: a file cannot be read, or changed since it was opened.
        """
        found = {}
        for name, handle in sorted(self._open.items()):
            digest, offset = hashlib.sha256(), 0
            try:
                while block := os.pread(handle, _CHUNK, offset):
                    digest.update(block)
                    offset += len(block)
            except OSError as error:
                raise ArtifactError(
                    f"cannot be read ({error.strerror})", where=self.path / name
                ) from error
            if offset != self._status[name].st_size:
                raise self._changed(name)
            found[name] = FileRecord(bytes=offset, sha256=digest.hexdigest())
        self.check_unchanged()
        return found

    def check_unchanged(self) -> None:
        """Refuse files that were written since they were opened.

        Raises:
            ArtifactError: names the first such file.
        """
        for name, handle in sorted(self._open.items()):
            before, now = self._status[name], os.fstat(handle)
            # ctime cannot be set back, and changes with every write through write() or truncate().
            if (before.st_size, before.st_mtime_ns, before.st_ctime_ns) != (
                now.st_size,
                now.st_mtime_ns,
                now.st_ctime_ns,
            ):
                raise self._changed(name)

    def _changed(self, name: str) -> ArtifactError:
        return ArtifactError(
            "changes while it is read", where=self.path / name, fix="try again when it is written"
        )

    def _blob(self, name: str) -> str:
        """Return the blob that a file of huggingface_hub's cache links to; refuse other links."""
        target = os.readlink(name, dir_fd=self._handle)
        if self.path.absolute().parent.name != "snapshots" or not _BLOB.fullmatch(target):
            raise ArtifactError(
                "is a symbolic link", where=self.path / name, fix="copy the file itself"
            )
        return target
