"""Documents of files, each document checked."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, NamedTuple

from ingot.corpus.config import CorpusConfig
from ingot.corpus.reading.files import SourceFile
from ingot.corpus.reading.report import ReadReport, Reason
from ingot.corpus.reading.texts import read_texts
from ingot.errors import CorpusError
from ingot.files import open_regular

_TOLD_EVERY = 256 << 10  # characters of text between two looks at how far a file was read


class Document(NamedTuple):
    """One self-contained text.

    Attributes:
        text: The text; never empty, always valid UTF-8 once encoded.
        read_from: What ``origin`` is the ``str`` of, which few documents need.
        digest: SHA-256 of the text in UTF-8.
        size: Its length in UTF-8.
        source: Index of the source it belongs to.
    """

    text: str
    read_from: object
    digest: bytes
    size: int
    source: int = 0

    @property
    def origin(self) -> str:
        """Where it was read, such as ``notes.jsonl:12``."""
        return str(self.read_from)


@dataclass(slots=True)
class ReadCursor:
    """Position of a pass over the files; a copy of it is enough to resume.

    Attributes:
        file: Index of the current file.
        text: Texts of the current file that were read.
        number: Texts that were read in all.
    """

    file: int = 0
    text: int = 0
    number: int = 0


def count(document: Document, report: ReadReport) -> None:
    """Count a document that is kept."""
    report.documents += 1
    report.text_bytes += document.size


def read_files(
    files: Iterable[SourceFile],
    report: ReadReport,
    cursor: ReadCursor,
    config: CorpusConfig,
    *,
    resume: Mapping[str, Any] | None = None,
) -> Iterator[Document]:
    """Yield the documents of files, duplicates included and not yet counted as kept.

    Args:
        files: The files in reading order.
        report: Receives what is left out, and bytes read.
        cursor: Where to begin; kept up to date, so that a copy of it is where to resume.
        config: Says which column holds the text, and which members of an archive are read.
        resume: The ``report.state()`` that belongs to ``cursor``; None at the beginning.

    Raises:
        CorpusError: a file changed since it was listed; a compressed file or an archive is
            damaged; a JSONL line or Parquet file is damaged or lacks the field; the files end
            before ``cursor``.
        ResourceError: the disk is full.
    """
    begin_file, skip = cursor.file, cursor.text
    before = 0
    for number, file in enumerate(files):
        if number >= begin_file:
            if number > begin_file or resume is None:
                cursor.file, cursor.text = number, 0
            texts = _open(file, report, config, before)
            if resume is not None:
                _skip_texts(texts, skip, file)
                report.restore(resume)  # skipping has counted what was counted before
                resume = None
            for text, origin in texts:
                cursor.text += 1
                cursor.number += 1
                document = _check(text, origin, file.source, report)
                if document is not None:
                    yield document
        before += file.size
        report.source_bytes = max(report.source_bytes, before)
    if resume is not None:
        raise CorpusError("fewer files than before", where="sources", fix="start over")


def _skip_texts(texts: Iterator[tuple[str, object]], count: int, file: SourceFile) -> None:
    """Skip the texts of a file that were read before a build stopped."""
    for _ in range(count):
        if next(texts, None) is None:
            raise CorpusError(
                "changed since the build began", where=file.name, fix="run the same command again"
            )


def _open(
    file: SourceFile, report: ReadReport, config: CorpusConfig, before: int
) -> Iterator[tuple[str, object]]:
    """Yield the texts of one file, each with its origin; ``before`` bytes were in earlier files."""
    unseen = _TOLD_EVERY  # at the first text already
    try:
        raw = open_regular(file.path, CorpusError)
    except CorpusError:
        report.skip(Reason.UNREADABLE, str(file.name))
        return
    with raw:
        _check_unchanged(raw, file)
        for text in _read(file, raw, report, config):
            unseen += len(text[0])
            if unseen >= _TOLD_EVERY:  # asking costs as much as parsing a short document
                report.source_bytes = before + min(raw.tell(), file.size)
                unseen = 0
            yield text


def _check_unchanged(raw: BinaryIO, file: SourceFile) -> None:
    status = os.fstat(raw.fileno())
    if (status.st_size, status.st_mtime_ns) != (file.size, file.mtime_ns):
        raise CorpusError(
            "changed while being read",
            where=file.name,
            fix="run the same command again when no process writes to it",
        )


def _read(
    file: SourceFile, raw: BinaryIO, report: ReadReport, config: CorpusConfig
) -> Iterator[tuple[str, object]]:
    try:
        yield from read_texts(raw, file.path, file.name, report, config, size=file.size)
    except OSError as error:
        raise CorpusError(
            f"cannot be read to its end ({error.strerror})",
            where=file.name,
            fix="check the disk, or leave the file out",
        ) from error


def _check(text: str, origin: object, source: int, report: ReadReport) -> Document | None:
    """Return the text as a document; None if it is left out, after counting the reason."""
    if not text or text.isspace():
        report.skip(Reason.EMPTY, str(origin))
        return None
    if "\0" in text:
        report.skip(Reason.BINARY, str(origin))
        return None
    try:
        data = text.encode()
    except UnicodeEncodeError:  # half a surrogate pair, which a JSON escape can contain
        report.skip(Reason.NOT_UTF8, str(origin))
        return None
    return Document(text, origin, hashlib.sha256(data).digest(), len(data), source)
