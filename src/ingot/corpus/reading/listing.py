"""Search for the source files of a corpus in files and folders."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ingot.corpus.encodings import is_wide
from ingot.corpus.reading.content import HEAD_BYTES, is_tar, is_zip, not_text
from ingot.corpus.reading.decompress import COMPRESSED, open_decompressed
from ingot.corpus.reading.files import FileList, SourceFile
from ingot.corpus.reading.report import REMEDIES, ReadReport, Reason
from ingot.corpus.reading.selection import JSONL_SUFFIXES, Selection, kind_of_name
from ingot.errors import CorpusError
from ingot.files import open_regular

_TABLES = JSONL_SUFFIXES | {".parquet"}
_READ_ALL = Selection()


def list_files(
    sources: Sequence[Path],
    selection: Selection = _READ_ALL,
    *,
    encoding: str | None = None,
    shown: Sequence[str | None] = (),
) -> FileList:
    """List every file of the sources; see ``find_files``."""
    report = ReadReport()
    folders: list[tuple[Path, int]] = []
    files = find_files(sources, report, selection, encoding=encoding, shown=shown, folders=folders)
    return FileList(tuple(files), report, tuple(folders))


def find_files(
    sources: Sequence[Path],
    report: ReadReport,
    selection: Selection = _READ_ALL,
    *,
    encoding: str | None = None,
    shown: Sequence[str | None] = (),
    folders: list[tuple[Path, int]] | None = None,
) -> Iterator[SourceFile]:
    """Yield every file of the sources that may hold text, folders in sorted order.

    What a file holds is told by its content, so its name need not have a suffix. Of a folder,
    what is left out is counted. A symbolic link is followed where it stays within the folder;
    a folder that is reached twice is read once.

    Args:
        sources: Files and folders.
        report: Receives the counts of what is left out.
        selection: Which files of folders to read, by name.
        encoding: Encoding of text that is not UTF-8, if one is configured.
        shown: A name for messages for each source that has another one than its path.
        folders: Receives each folder that is listed and its time of last change.

    Raises:
        CorpusError: a source is missing, unreadable, neither a file nor a folder, or a file
            that is not text.
    """
    wide = is_wide(encoding)
    walk = _Walk(report, selection, wide, [] if folders is None else folders)
    for number, source in enumerate(sources):
        name = shown[number] if number < len(shown) else None
        try:
            status = source.stat()
        except OSError as error:
            raise CorpusError(
                f"cannot be read ({error.strerror})", where=source, fix="check the path"
            ) from error
        if stat.S_ISDIR(status.st_mode):
            yield from walk.files(source, number)
        elif stat.S_ISREG(status.st_mode):
            if reason := _refused_content(source, wide=wide):
                raise CorpusError(
                    f"is a {reason}" if reason is Reason.DOCUMENT else f"is {reason}, not text",
                    where=name or source,
                    fix=REMEDIES[reason],
                )
            yield SourceFile(
                source, status.st_size, status.st_mtime_ns, number, Path(name) if name else None
            )
        else:
            raise CorpusError(
                "is neither a file nor a folder", where=source, fix="give a file or a folder"
            )


@dataclass(slots=True)
class _Walk:
    """Search of folders; one for all sources, so that no folder is read twice."""

    report: ReadReport
    selection: Selection
    wide: bool
    folders: list[tuple[Path, int]]
    _visited: set[tuple[int, int]] = field(default_factory=set)

    def files(self, root: Path, source: int) -> Iterator[SourceFile]:
        """Yield the files to read below ``root``, in the order of their names."""
        inside = root.resolve()
        pending = [root]  # an explicit stack: a deep tree would exceed Python's recursion limit
        while pending:
            path = pending.pop()
            try:
                status = path.stat()
                leaves = path.is_symlink() and not path.resolve().is_relative_to(inside)
            except (OSError, RuntimeError):  # pathlib's error for links in a circle
                self.report.skip(Reason.UNREADABLE, str(path))
                continue
            if path != root and leaves:
                self.report.skip(Reason.LINK, str(path))
            elif stat.S_ISDIR(status.st_mode):
                reason = self.selection.refuses_folder(path.name) if path != root else None
                if reason:
                    self.report.skip(reason, str(path))
                else:
                    pending += self._names(path, status)
            elif reason := self._refuses(path, status):
                self.report.skip(reason, str(path))
            else:
                yield SourceFile(path, status.st_size, status.st_mtime_ns, source)

    def _refuses(self, path: Path, status: os.stat_result) -> Reason | None:
        """Return why a file is left out, or None."""
        if reason := self.selection.refuses_file(path):
            return reason
        if not stat.S_ISREG(status.st_mode):
            return Reason.UNREADABLE
        return _refused_content(path, wide=self.wide)

    def _names(self, folder: Path, status: os.stat_result) -> list[Path]:
        """Return the contents of a folder, last name first; nothing for a folder met before."""
        identity = (status.st_dev, status.st_ino)
        if identity in self._visited:
            return []
        self._visited.add(identity)
        try:
            names = sorted(os.listdir(folder), reverse=True)  # noqa: PTH208 (names are enough)
        except OSError:
            self.report.skip(Reason.UNREADABLE, str(folder))
            return []
        # The time from before listing: a name that is added meanwhile changes it.
        self.folders.append((folder, status.st_mtime_ns))
        return [folder / name for name in names]


def _refused_content(path: Path, *, wide: bool) -> Reason | None:
    """Return why a file cannot be text, by its first bytes; None leaves the answer to reading."""
    if kind_of_name(path) in _TABLES:
        return None
    try:
        with open_regular(path, CorpusError) as raw:
            packed = path.suffix.lower() in COMPRESSED
            head = (open_decompressed(raw, path) if packed else raw).read(HEAD_BYTES)
    except (OSError, CorpusError):
        return None
    if is_tar(head) or (kind_of_name(path) == ".zip" and is_zip(head)):
        return None
    return not_text(head, path, wide=wide)
