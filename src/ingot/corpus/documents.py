"""Files to documents: text, JSONL and Parquet, each document checked and counted once."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ingot.corpus.expand import open_expanded
from ingot.corpus.readers import read_jsonl, read_parquet, read_text
from ingot.corpus.report import ReadReport, Reason
from ingot.corpus.seen import SeenDigests
from ingot.corpus.sources import EXCLUDED_FOLDERS, SourceFile, find_files
from ingot.errors import CorpusError


@dataclass(frozen=True, slots=True)
class Document:
    """One text that stands for itself.

    Attributes:
        text: The text; never empty, always valid UTF-8 once encoded.
        origin: Where it came from, such as ``notes.jsonl:12``.
        digest: SHA-256 of the text in UTF-8.
        size: Its length in UTF-8.
    """

    text: str
    origin: str
    digest: bytes
    size: int


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
    with SeenDigests() as seen:
        finished = 0
        for file in find_files(paths, report, suffixes=suffixes, exclude=exclude):
            try:
                raw = file.path.open("rb")
            except OSError:
                report.skip(Reason.UNREADABLE, str(file.path))
                continue
            with raw:
                for text, origin in _read(file, raw, report, json_field):
                    document = _accept(text, origin, seen, report)
                    if document is not None:
                        report.source_bytes = finished + min(raw.tell(), file.size)
                        yield document
            finished += file.size
            report.source_bytes = finished


def _read(
    file: SourceFile, raw: BinaryIO, report: ReadReport, json_field: str
) -> Iterator[tuple[str, str]]:
    """Yield the texts of one file, each with its origin."""
    stream = open_expanded(raw, file.path) if file.compressed else raw
    try:
        if file.suffix == ".jsonl":
            yield from read_jsonl(stream, file.path, json_field, report)
        elif file.suffix == ".parquet":
            yield from read_parquet(stream, file.path, json_field, report)
        else:
            yield from read_text(stream, file.path, report)
    except OSError as error:
        raise CorpusError(
            f"cannot be read to its end ({error.strerror})",
            where=file.path,
            fix="check the disk, or leave the file out",
        ) from error


def _accept(text: str, origin: str, seen: SeenDigests, report: ReadReport) -> Document | None:
    """Return the text as a document, or None after counting why not."""
    if not text.strip():
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
    digest = hashlib.sha256(data).digest()
    if not seen.add(digest):
        report.skip(Reason.DUPLICATE, origin)
        return None
    report.documents += 1
    report.text_bytes += len(data)
    return Document(text, origin, digest, len(data))
