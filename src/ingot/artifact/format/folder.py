"""Reading an ingot's folder: one handle on it, no links, nothing that is not a plain file."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Self

from ingot.errors import ArtifactError


class Folder:
    """An open folder. It stays the same folder even if its path is renamed meanwhile.

    Raises:
        ArtifactError: there is no folder at ``path``, or it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except (OSError, ValueError) as error:  # ValueError: a NUL in the path
            reason = error.strerror if isinstance(error, OSError) else error
            raise ArtifactError(
                f"is not an ingot ({reason})",
                where=path,
                fix="check the path, or make one with: ingot freeze RUN --out my.ingot",
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._handle)

    def names(self) -> set[str]:
        """Return the names of all that lies in the folder."""
        try:
            with os.scandir(self._handle) as entries:
                return {entry.name for entry in entries}
        except OSError as error:
            raise ArtifactError(f"cannot be listed ({error.strerror})", where=self.path) from error

    def open(self, name: str) -> tuple[int, int]:
        """Open a regular file; return its handle, for the caller to close, and its size in bytes.

        Raises:
            ArtifactError: it is missing, a link, or no regular file.
        """
        where = self.path / name
        # Non-blocking, because opening a named pipe would otherwise wait for ever.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            status = os.stat(name, dir_fd=self._handle, follow_symlinks=False)
            if stat.S_ISLNK(status.st_mode):
                raise ArtifactError("is a symbolic link", where=where, fix="copy the file itself")
            handle = os.open(name, flags, dir_fd=self._handle)
        except FileNotFoundError as error:
            raise ArtifactError(
                "is missing", where=where, fix="fetch or make the ingot again"
            ) from error
        except OSError as error:
            raise ArtifactError(f"cannot be opened ({error.strerror})", where=where) from error
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            os.close(handle)
            raise ArtifactError("is not a regular file", where=where)
        return handle, status.st_size

    def read(self, name: str, *, max_bytes: int, size: int | None = None) -> bytes:
        """Return a small file's bytes.

        Args:
            name: The file.
            max_bytes: The most bytes it may have.
            size: The bytes it must have, where known.

        Raises:
            ArtifactError: missing, no regular file, too large, or not of that size.
        """
        handle, actual = self.open(name)
        with os.fdopen(handle, "rb") as file:
            check_size(self.path / name, actual, size)
            if actual > max_bytes:
                raise ArtifactError(
                    f"has {actual:,} bytes, more than {max_bytes:,}", where=self.path / name
                )
            try:
                return file.read(actual)
            except OSError as error:
                raise ArtifactError(
                    f"cannot be read ({error.strerror})", where=self.path / name
                ) from error


def check_size(where: Path, actual: int, expected: int | None) -> None:
    """Refuse a file whose size is not the one its manifest gives."""
    if expected is not None and actual != expected:
        raise ArtifactError(
            f"has {actual} bytes where the manifest says {expected}",
            where=where,
            fix="fetch or make the ingot again",
        )
