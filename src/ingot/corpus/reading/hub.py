"""Datasets of the Hugging Face hub by name, fetched once as a stream."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import orjson
import zstandard

from ingot.corpus.reading.formats import choose_field
from ingot.errors import CorpusError, IngotError
from ingot.files import full_disk_named

PREFIX = "hf:"

_NAME = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", re.ASCII)
_PART = re.compile(r"[\w.+-]*", re.ASCII)


@dataclass(frozen=True, slots=True)
class DatasetName:
    """``hf:owner/name[:config][:split]``; without a split, ``train``."""

    name: str
    config: str | None
    split: str

    @classmethod
    def parse(cls, text: str) -> DatasetName:
        """Parse a name; an empty config means no config, as in ``hf:owner/name::test``.

        Raises:
            CorpusError: the name is malformed.
        """
        name, *parts = text.removeprefix(PREFIX).split(":")
        if len(parts) > 2 or not _NAME.fullmatch(name) or not all(map(_PART.fullmatch, parts)):
            raise CorpusError(
                "is not the name of a dataset",
                where=text,
                fix="write hf:owner/name[:config][:split]",
            )
        config, split = (*parts, "", "")[:2]
        return cls(name, config or None, split or "train")


def spool_dataset(source: str, field: str, folder: Path) -> Path:
    """Fetch a dataset's text as a stream into a compressed JSONL file; return the file.

    It is fetched once, so both passes over the text see the same rows whatever
    happens at the hub meanwhile. A complete file of an earlier build is used again.

    Args:
        source: ``hf:owner/name[:config][:split]``.
        field: The column that holds the text.
        folder: Where the file goes.

    Raises:
        CorpusError: the name is malformed, ``datasets`` is not installed, the
            dataset cannot be fetched, or has no such column of text.
        ResourceError: the disk is full.
    """
    wanted = DatasetName.parse(source)
    key = hashlib.sha256(f"{source}\0{field}".encode()).hexdigest()[:16]
    path = folder / f"hub-{key}.jsonl.zst"
    if path.exists():
        return path
    unfinished = path.with_suffix(".new")
    with unfinished.open("wb") as file, zstandard.ZstdCompressor().stream_writer(file) as out:
        _write_rows(_stream(wanted, source), field, source, out, path)
    unfinished.replace(path)
    return path


def _write_rows(
    rows: Iterable[Mapping[str, Any]], field: str, source: str, out: BinaryIO, path: Path
) -> None:
    done = 0
    try:
        for row in rows:
            if field not in row or not isinstance(row[field], str | None):
                texts = [name for name, value in row.items() if isinstance(value, str)]
                raise CorpusError(
                    f"has no column {field!r} of text",
                    where=source,
                    fix=choose_field(texts),
                )
            with full_disk_named(path):
                out.write(orjson.dumps({field: row[field]}, option=orjson.OPT_APPEND_NEWLINE))
            done += 1
    except IngotError:
        raise
    except Exception as error:  # the library raises whatever its many layers raise
        raise _lost(source, done, error) from error


def _stream(wanted: DatasetName, source: str) -> Iterable[Mapping[str, Any]]:
    try:
        from datasets import load_dataset  # noqa: PLC0415  an optional package, and heavy
    except ImportError as error:
        raise CorpusError(
            "reading from the hub needs datasets, which is not installed",
            where=source,
            fix="pip install 'ingot[hub]'",
        ) from error
    try:
        rows: Iterable[Mapping[str, Any]] = load_dataset(
            wanted.name, wanted.config, split=wanted.split, streaming=True
        )
    except Exception as error:  # as above
        raise _lost(source, 0, error) from error
    return rows


def _lost(source: str, rows: int, error: Exception) -> CorpusError:
    first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return CorpusError(
        f"could not be fetched after {rows} rows ({first_line})",
        where=source,
        fix="check the name and the network",
    )
