"""Texts of one file, whatever it holds: plain text, tables, compressed files and archives."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import BinaryIO

from ingot.corpus.config import CorpusConfig
from ingot.corpus.encodings import is_wide
from ingot.corpus.reading.archives import tar_members, zip_members
from ingot.corpus.reading.content import (
    is_tar,
    is_zip,
    marked_encoding,
    not_text,
    read_head,
)
from ingot.corpus.reading.decompress import COMPRESSED, Expansion, open_decompressed
from ingot.corpus.reading.encoding import UndecodableError, recoded
from ingot.corpus.reading.formats import read_jsonl, read_parquet, read_text
from ingot.corpus.reading.report import ReadReport, Reason
from ingot.corpus.reading.selection import JSONL_SUFFIXES, Selection, kind_of_name


def read_texts(
    stream: BinaryIO,
    path: PurePath,
    name: Path,
    report: ReadReport,
    config: CorpusConfig,
    *,
    size: int,
    archive: Expansion | None = None,
) -> Iterator[tuple[str, object]]:
    """Yield the texts of a file, each with its origin, whose ``str`` says where it is.

    Args:
        stream: Its bytes as they are on disk or in an archive.
        path: Its suffixes tell compression and tables; anything else is told by its content.
        name: What to call it in messages.
        report: Receives what is left out.
        config: Says which column holds the text, and which members of an archive are read.
        size: Its length in bytes.
        archive: What the members of the archive that it lies in have decompressed to.

    Raises:
        CorpusError: it is damaged, a decompression bomb, or a table without the field.
        ResourceError: the disk that holds temporary files is full.
    """
    if path.suffix.lower() in COMPRESSED:
        stream = open_decompressed(stream, path, name)
    if archive:
        stream = archive.counting(stream)
    kind = kind_of_name(path)
    if kind == ".parquet":
        yield from read_parquet(stream, name, config.json_field, report)
        return
    head, stream = read_head(stream)
    if kind not in JSONL_SUFFIXES and _is_archive(head, kind):
        if archive or (is_zip(head) and not stream.seekable()):
            report.skip(Reason.NESTED, str(name))
            return
        yield from _members(head, stream, name, report, config, Expansion(size, name))
        return
    encoding = _encoding(head, config)
    if encoding:
        stream = recoded(stream, encoding)
    try:
        if kind in JSONL_SUFFIXES:
            yield from read_jsonl(stream, name, config, report)
        elif reason := not_text(head, path, wide=encoding is not None):
            report.skip(reason, str(name))
        else:
            yield from read_text(stream, name, config, report)
    except UndecodableError:
        report.skip(Reason.NOT_UTF8, str(name))


def _encoding(head: bytes, config: CorpusConfig) -> str | None:
    """Return the encoding to read the whole file in, if its bytes hold NULs or it is marked."""
    if marked := marked_encoding(head):
        return marked
    return config.encoding if is_wide(config.encoding) and b"\0" in head else None


def _is_archive(head: bytes, kind: str) -> bool:
    return is_tar(head) or (kind == ".zip" and is_zip(head))


def _members(
    head: bytes,
    stream: BinaryIO,
    name: Path,
    report: ReadReport,
    config: CorpusConfig,
    archive: Expansion,
) -> Iterator[tuple[str, object]]:
    choose = Selection.of(config).refuses_member
    members = tar_members if is_tar(head) else zip_members
    for inside, opened in members(stream, name, report, choose):
        yield from read_texts(
            opened, inside, name / inside, report, config, size=archive.size, archive=archive
        )
