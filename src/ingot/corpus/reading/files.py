"""Source files of a corpus: which files of a folder are read, and their fingerprint."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ingot.corpus.reading.decompress import COMPRESSED
from ingot.corpus.reading.report import ReadReport, Reason
from ingot.errors import CorpusError

EXCLUDED_FOLDERS = frozenset({"__pycache__", "node_modules", "site-packages"})

_PROSE = ".txt .md .markdown .rst .tex .org .adoc"
_CODE = (
    ".py .pyi .pyx .c .h .cc .cpp .cxx .hh .hpp .cu .cuh .m .mm .js .mjs .jsx .ts .tsx .go .rs "
    ".java .kt .scala .swift .cs .fs .rb .php .pl .pm .lua .r .jl .hs .ml .mli .ex .exs .erl .clj "
    ".el .lisp .scm .dart .zig .nim .v .sv .vhd .asm .s .f90 .sql .proto .cmake .mk .sh .bash .zsh "
    ".fish .ps1 .bat .vim .html .htm .css .scss .less .vue .svelte .xml .toml .yaml .yml .ini .cfg"
)
TEXT_SUFFIXES = frozenset(f"{_PROSE} {_CODE}".split())
JSONL_SUFFIXES = frozenset({".jsonl", ".ndjson"})
TABLE_SUFFIXES = JSONL_SUFFIXES | {".parquet"}


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
    def suffix(self) -> str:
        """Kind of the file inside any compression, in lower case: ``.jsonl`` of ``a.jsonl.gz``."""
        return _kind(self.path)

    @property
    def compressed(self) -> bool:
        """Whether the file must be decompressed."""
        return self.path.suffix.lower() in COMPRESSED


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


def list_files(
    sources: Sequence[Path],
    *,
    suffixes: Collection[str] | None = None,
    exclude: Collection[str] = EXCLUDED_FOLDERS,
) -> FileList:
    """List every file of the sources; see ``find_files``."""
    report = ReadReport()
    folders: list[tuple[Path, int]] = []
    files = find_files(sources, report, suffixes=suffixes, exclude=exclude, folders=folders)
    return FileList(tuple(files), report, tuple(folders))


def find_files(
    sources: Sequence[Path],
    report: ReadReport,
    *,
    suffixes: Collection[str] | None = None,
    exclude: Collection[str] = EXCLUDED_FOLDERS,
    folders: list[tuple[Path, int]] | None = None,
) -> Iterator[SourceFile]:
    """Yield every file of the sources, folders in sorted order.

    A file that is itself a source is always included, as plain text if its suffix is
    unknown. In folders, hidden names and the folders in ``exclude`` are left out, and so
    are files of other kinds, which are counted. Symbolic links are followed; a folder that
    is reached twice is read once.

    Args:
        sources: Files and folders.
        report: Receives the counts of what is left out.
        suffixes: Kinds of files to include from folders; None includes all known kinds.
        exclude: Names of folders to leave out.
        folders: Receives each folder that is listed and its time of last change.

    Raises:
        CorpusError: a source is missing, unreadable, or neither a file nor a folder.
    """
    wanted = TEXT_SUFFIXES | TABLE_SUFFIXES if suffixes is None else _normal(suffixes)
    walk = _Walk(report, wanted, frozenset(exclude), [] if folders is None else folders)
    for number, source in enumerate(sources):
        try:
            status = source.stat()
        except OSError as error:
            raise CorpusError(
                f"cannot be read ({error.strerror})", where=source, fix="check the path"
            ) from error
        if stat.S_ISDIR(status.st_mode):
            yield from walk.files(source, number)
        elif stat.S_ISREG(status.st_mode):
            yield SourceFile(source, status.st_size, status.st_mtime_ns, number)
        else:
            raise CorpusError(
                "is neither a file nor a folder", where=source, fix="give a file or a folder"
            )


@dataclass(slots=True)
class _Walk:
    """Search of folders; one for all sources, so that no folder is read twice."""

    report: ReadReport
    wanted: frozenset[str]
    exclude: frozenset[str]
    folders: list[tuple[Path, int]]
    _visited: set[tuple[int, int]] = field(default_factory=set)

    def files(self, root: Path, source: int) -> Iterator[SourceFile]:
        """Yield the wanted files below ``root``, in the order of their names."""
        pending = [root]  # an explicit stack: a deep tree would exceed Python's recursion limit
        while pending:
            path = pending.pop()
            try:
                status = path.stat()
            except OSError:
                self.report.skip(Reason.UNREADABLE, str(path))
                continue
            if stat.S_ISREG(status.st_mode):
                if _kind(path) in self.wanted:
                    yield SourceFile(path, status.st_size, status.st_mtime_ns, source)
                else:
                    self.report.skip(Reason.OTHER_KIND, str(path))
            elif not stat.S_ISDIR(status.st_mode):
                self.report.skip(Reason.UNREADABLE, str(path))
            elif path == root or path.name not in self.exclude:
                pending += self._names(path, status)

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
        return [folder / name for name in names if not name.startswith(".")]


def _mtime_ns(path: Path) -> int | None:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return None


def _kind(path: Path) -> str:
    suffix = path.suffix.lower()
    return Path(path.stem).suffix.lower() if suffix in COMPRESSED else suffix


def _normal(suffixes: Collection[str]) -> frozenset[str]:
    return frozenset(f".{suffix.lower().lstrip('.')}" for suffix in suffixes)
