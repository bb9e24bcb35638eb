"""Finding the files that a corpus is made of: folders, kinds of files, and their fingerprint."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
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
TABLE_SUFFIXES = frozenset({".jsonl", ".parquet"})


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file to read: where it is, and what it looked like when it was found.

    Attributes:
        path: Where it is.
        size: Its length in bytes.
        mtime_ns: When it was changed last.
        source: Which of the sources it belongs to, from 0.
        shown: What to call it, if it only holds what came from elsewhere.
        content: Its SHA-256 where that, and not place and time, says what it is.
    """

    path: Path
    size: int
    mtime_ns: int
    source: int = 0
    shown: Path | None = None
    content: str | None = None

    @property
    def name(self) -> Path:
        """What to call it in messages."""
        return self.shown or self.path

    @property
    def suffix(self) -> str:
        """Kind of the file inside any compression, in lower case: ``.jsonl`` of ``a.jsonl.gz``."""
        return _kind(self.path)

    @property
    def compressed(self) -> bool:
        """Whether the file must be expanded first."""
        return self.path.suffix.lower() in COMPRESSED


def find_files(
    sources: Sequence[Path],
    report: ReadReport,
    *,
    suffixes: Collection[str] | None = None,
    exclude: Collection[str] = EXCLUDED_FOLDERS,
) -> Iterator[SourceFile]:
    """Yield every file of the sources, folders in sorted order.

    A file given by itself is always taken, as plain text if its suffix is not
    known. In folders, hidden names and the folders in ``exclude`` are left
    out, and so are files of other kinds (these are counted). Symbolic links
    are followed; a folder reached twice is read once.

    Raises:
        CorpusError: a source is missing, unreadable, or neither a file nor a folder.
    """
    wanted = TEXT_SUFFIXES | TABLE_SUFFIXES if suffixes is None else _normal(suffixes)
    visited: set[tuple[int, int]] = set()
    for number, source in enumerate(sources):
        try:
            status = source.stat()
        except OSError as error:
            raise CorpusError(
                f"cannot be read ({error.strerror})", where=source, fix="check the path"
            ) from error
        if stat.S_ISDIR(status.st_mode):
            yield from _walk(source, number, report, wanted, frozenset(exclude), visited)
        elif stat.S_ISREG(status.st_mode):
            yield SourceFile(source, status.st_size, status.st_mtime_ns, number)
        else:
            raise CorpusError(
                "is neither a file nor a folder", where=source, fix="give a file or a folder"
            )


def fingerprint_files(files: Iterable[SourceFile]) -> str:
    """Return the SHA-256 over the files' absolute paths, sizes and modification times.

    A file whose ``content`` is known counts with that instead.
    """
    digest = hashlib.sha256()
    for file in files:
        if file.content is not None:
            digest.update(f"{file.content} {file.size} {file.name}\n".encode())
            continue
        path = os.fsencode(os.path.abspath(file.path))  # noqa: PTH100  links stay as they are
        digest.update(b"%d %d %d %s\n" % (len(path), file.size, file.mtime_ns, path))
    return digest.hexdigest()


def _walk(
    folder: Path,
    number: int,
    report: ReadReport,
    wanted: frozenset[str],
    exclude: frozenset[str],
    visited: set[tuple[int, int]],
) -> Iterator[SourceFile]:
    """Yield the wanted files below ``folder``, in the order of their names."""
    pending = [folder]  # a stack, so that no depth of folders can exhaust Python's own
    while pending:
        path = pending.pop()
        try:
            status = path.stat()
        except OSError:
            report.skip(Reason.UNREADABLE, str(path))
            continue
        if stat.S_ISREG(status.st_mode):
            if _kind(path) in wanted:
                yield SourceFile(path, status.st_size, status.st_mtime_ns, number)
            else:
                report.skip(Reason.OTHER_KIND, str(path))
            continue
        if not stat.S_ISDIR(status.st_mode):
            report.skip(Reason.UNREADABLE, str(path))
            continue
        if path.name in exclude and path != folder:
            continue
        identity = (status.st_dev, status.st_ino)
        if identity in visited:
            continue
        visited.add(identity)
        try:
            names = sorted(os.listdir(path), reverse=True)  # noqa: PTH208  names alone are enough
        except OSError:
            report.skip(Reason.UNREADABLE, str(path))
            continue
        pending += [path / name for name in names if not name.startswith(".")]


def _kind(path: Path) -> str:
    suffix = path.suffix.lower()
    return Path(path.stem).suffix.lower() if suffix in COMPRESSED else suffix


def _normal(suffixes: Collection[str]) -> frozenset[str]:
    return frozenset(f".{suffix.lower().lstrip('.')}" for suffix in suffixes)
