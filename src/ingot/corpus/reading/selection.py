"""Choice of files by their names: in folders, and in archives, which are read like folders."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import PurePath

from ingot.corpus.config import EXCLUDED_FOLDERS, CorpusConfig
from ingot.corpus.reading.decompress import COMPRESSED
from ingot.corpus.reading.report import Reason

JSONL_SUFFIXES = frozenset({".jsonl", ".ndjson"})
ARCHIVE_SUFFIXES = frozenset({".tar", ".zip", ".tgz", ".tbz", ".tbz2", ".txz", ".tzst"})


@dataclass(frozen=True, slots=True)
class Selection:
    """Which files of a folder or archive to read, by name.

    Attributes:
        suffixes: Suffixes of the files to read; None reads whatever holds text.
        exclude: Names of folders to leave out.
        hidden: Whether to read names that begin with a dot.
    """

    suffixes: Collection[str] | None = None
    exclude: Collection[str] = EXCLUDED_FOLDERS
    hidden: bool = False

    @classmethod
    def of(cls, config: CorpusConfig) -> Selection:
        """Return the choice that a config describes."""
        return cls(config.suffixes, config.exclude, config.hidden)

    def refuses_name(self, name: str) -> Reason | None:
        """Return why a file or folder of this name is left out, or None."""
        return Reason.HIDDEN if name.startswith(".") and not self.hidden else None

    def refuses_folder(self, name: str) -> Reason | None:
        """Return why a folder of this name is left out, or None."""
        return self.refuses_name(name) or (Reason.EXCLUDED if name in self.exclude else None)

    def refuses_file(self, path: PurePath) -> Reason | None:
        """Return why a file is left out, or None; an archive's members are chosen by themselves."""
        if self.suffixes is None or is_archive_name(path):
            return self.refuses_name(path.name)
        wanted = {f".{suffix.lower().lstrip('.')}" for suffix in self.suffixes}
        return self.refuses_name(path.name) or (
            None if kind_of_name(path) in wanted else Reason.OTHER_KIND
        )

    def refuses_member(self, path: PurePath) -> Reason | None:
        """Return why a file of an archive is left out, or None."""
        if path.is_absolute() or ".." in path.parts:
            return Reason.LINK
        folders = (self.refuses_folder(part) for part in path.parts[:-1])
        return next(filter(None, folders), None) or self.refuses_file(path)


def kind_of_name(path: PurePath) -> str:
    """Return the suffix inside any compression, in lower case: ``.jsonl`` of ``a.jsonl.gz``."""
    suffix = path.suffix.lower()
    return PurePath(path.stem).suffix.lower() if suffix in COMPRESSED else suffix


def is_archive_name(path: PurePath) -> bool:
    """Return whether a file is an archive by its name."""
    return path.suffix.lower() in ARCHIVE_SUFFIXES or kind_of_name(path) == ".tar"
