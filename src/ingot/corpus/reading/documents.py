"""Files to documents: text, JSONL and Parquet, each document checked and counted once."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from ingot.corpus.build.build_state import Journal
from ingot.corpus.build.exact_duplicates import SeenDigests
from ingot.corpus.reading.decompress import open_expanded
from ingot.corpus.reading.files import EXCLUDED_FOLDERS, SourceFile, find_files
from ingot.corpus.reading.formats import read_jsonl, read_parquet, read_text
from ingot.corpus.reading.report import ReadReport, Reason
from ingot.errors import CorpusError


@dataclass(frozen=True, slots=True)
class Document:
    """One text that stands for itself.

    Attributes:
        text: The text; never empty, always valid UTF-8 once encoded.
        origin: Where it came from, such as ``notes.jsonl:12``.
        digest: SHA-256 of the text in UTF-8.
        size: Its length in UTF-8.
        source: Which of the sources it came from, from 0.
    """

    text: str
    origin: str
    digest: bytes
    size: int
    source: int = 0


@dataclass(slots=True)
class Place:
    """How far a pass over the files has come.

    Attributes:
        file: Files before the current one.
        text: Texts of the current file that were taken.
        number: Texts taken in all.
    """

    file: int = 0
    text: int = 0
    number: int = 0


def iter_documents(
    paths: Sequence[Path],
    report: ReadReport,
    *,
    suffixes: Collection[str] | None = None,
    json_field: str = "text",
    exclude: Collection[str] = EXCLUDED_FOLDERS,
) -> Iterator[Document]:
    """Yield the documents of files and folders, in an order that only names decide.

    A plain text file is one document; past 4 MiB it is several, cut between
    lines. A line of JSONL or a row of Parquet is one. Empty documents, exact
    duplicates, binary files and bytes that are not UTF-8 are left out and
    counted in ``report``, which is up to date whenever a document is yielded.

    Args:
        paths: Files and folders to read, in this order.
        report: Receives the counts.
        suffixes: Kinds of files to take from folders; None takes all known ones.
        json_field: JSONL field and Parquet column that hold the text.
        exclude: Names of folders to leave out, beside hidden ones.

    Raises:
        CorpusError: a path is missing; a compressed file is truncated; a JSONL
            line or Parquet file is damaged or lacks the field.
        ResourceError: the disk is full.
    """
    files = find_files(paths, report, suffixes=suffixes, exclude=exclude)
    place = Place()
    with Journal() as journal:
        seen = SeenDigests(journal)
        for document in read_files(files, report, place, json_field=json_field):
            if seen.add(document.digest, place.number):
                count(document, report)
                yield document
            else:
                report.skip(Reason.DUPLICATE, document.origin)


def count(document: Document, report: ReadReport) -> None:
    """Count a document that was taken."""
    report.documents += 1
    report.text_bytes += document.size


def read_files(
    files: Iterable[SourceFile],
    report: ReadReport,
    place: Place,
    *,
    json_field: str,
    resume: Mapping[str, Any] | None = None,
) -> Iterator[Document]:
    """Yield the documents of files, duplicates included and not yet counted as taken.

    Args:
        files: The files, found lazily with the same ``report``.
        report: Receives what is left out, and bytes read.
        place: Where to begin; kept up to date, so that a copy of it says where to go on.
        json_field: JSONL field and Parquet column that hold the text.
        resume: The ``report.state()`` that belongs to ``place``, if it is not the beginning.

    Raises:
        CorpusError: as ``iter_documents``; also if the files end before ``place``.
    """
    begin_file, skip = place.file, place.text
    before = 0
    for number, file in enumerate(files):
        if number >= begin_file:
            if number > begin_file or resume is None:
                place.file, place.text = number, 0
            texts = _open(file, report, json_field, before)
            if resume is not None:
                _pass_over(texts, skip, file)
                report.restore(resume)
                resume = None
            for text, origin in texts:
                place.text += 1
                place.number += 1
                document = _check(text, origin, file.source, report)
                if document is not None:
                    yield document
        before += file.size
        report.source_bytes = max(report.source_bytes, before)
    if resume is not None:
        raise CorpusError("fewer files than before", where="sources", fix="start over")


def _pass_over(texts: Iterator[tuple[str, str]], count: int, file: SourceFile) -> None:
    """Read texts that were taken before."""
    for _ in range(count):
        if next(texts, None) is None:
            raise CorpusError(
                "changed since the build began", where=file.name, fix="run the same command again"
            )


def _open(
    file: SourceFile, report: ReadReport, json_field: str, before: int
) -> Iterator[tuple[str, str]]:
    """Yield the texts of one file, each with its origin; ``before`` bytes were in earlier files."""
    try:
        raw = file.path.open("rb")
    except OSError:
        report.skip(Reason.UNREADABLE, str(file.name))
        return
    with raw:
        for text in _read(file, raw, report, json_field):
            report.source_bytes = before + min(raw.tell(), file.size)
            yield text


def _read(
    file: SourceFile, raw: BinaryIO, report: ReadReport, json_field: str
) -> Iterator[tuple[str, str]]:
    stream = open_expanded(raw, file.path) if file.compressed else raw
    try:
        if file.suffix == ".jsonl":
            yield from read_jsonl(stream, file.name, json_field, report)
        elif file.suffix == ".parquet":
            yield from read_parquet(stream, file.name, json_field, report)
        else:
            yield from read_text(stream, file.name, report)
    except OSError as error:
        raise CorpusError(
            f"cannot be read to its end ({error.strerror})",
            where=file.name,
            fix="check the disk, or leave the file out",
        ) from error


def _check(text: str, origin: str, source: int, report: ReadReport) -> Document | None:
    """Return the text as a document, or None after counting why not."""
    if not text or text.isspace():
        report.skip(Reason.EMPTY, origin)
        return None
    if "\0" in text:
        report.skip(Reason.BINARY, origin)
        return None
    try:
        data = text.encode()
    except UnicodeEncodeError:  # half a surrogate pair, which JSON can spell
        report.skip(Reason.NOT_UTF8, origin)
        return None
    return Document(text, origin, hashlib.sha256(data).digest(), len(data), source)
