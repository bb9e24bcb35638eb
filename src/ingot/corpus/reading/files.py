"""Source files of a corpus, as they were listed, and their fingerprint."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from ingot.corpus.reading.decompress import COMPRESSED
from ingot.corpus.reading.report import ReadReport
from ingot.corpus.reading.selection import is_archive_name


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file to read, with the size and time that it had when it was listed.

    Attributes:
        path: The file.
        size: Its length in bytes.
        mtime_ns: Time of its last change, in nanoseconds since 1970.
        source: Index of the source it belongs to.
        shown: Name for messages if ``path`` is a copy of something else, such as standard input.
        content: SHA-256 of the file if that identifies it instead of its path and time.
    """

    path: Path
    size: int
    mtime_ns: int
    source: int = 0
    shown: Path | None = None
    content: str | None = None

    @property
    def name(self) -> Path:
        """Name of the file in messages."""
        return self.shown or self.path

    @property
    def compressed(self) -> bool:
        """Whether the file must be decompressed."""
        return self.path.suffix.lower() in COMPRESSED or is_archive_name(self.path)


@dataclass(frozen=True, slots=True)
class FileList:
    """The files of some sources, listed once for everything that needs them.

    Attributes:
        files: The files in reading order.
        report: What was left out while listing.
        folders: Each folder that was listed, with its time of last change in nanoseconds.
    """

    files: tuple[SourceFile, ...]
    report: ReadReport
    folders: tuple[tuple[Path, int], ...] = ()

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    def fingerprint(self) -> str:
        """Return the SHA-256 over the files' absolute paths, sizes and modification times.

        A file whose ``content`` is known counts with that instead.
        """
        digest = hashlib.sha256()
        for file in self.files:
            if file.content is not None:
                digest.update(f"{file.content} {file.size} {file.name}\n".encode())
                continue
            # Not resolved: a link that points elsewhere later is still the same source.
            path = os.fsencode(os.path.abspath(file.path))  # noqa: PTH100
            digest.update(b"%d %d %d %s\n" % (len(path), file.size, file.mtime_ns, path))
        return digest.hexdigest()

    def folders_changed(self) -> bool:
        """Return whether a name was added to or removed from a folder since it was listed."""
        return any(_mtime_ns(path) != mtime_ns for path, mtime_ns in self.folders)


def _mtime_ns(path: Path) -> int | None:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return None
