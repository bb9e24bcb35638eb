"""Records of JSONL files of examples, each field checked before use."""

from __future__ import annotations

import codecs
import hashlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from ingot.corpus.reading.content import marked_encoding, read_head
from ingot.corpus.reading.decompress import COMPRESSED, open_decompressed
from ingot.corpus.reading.encoding import UndecodableError, recoded
from ingot.corpus.reading.jsonl import Line, kind_of, read_lines
from ingot.errors import CorpusError
from ingot.files import open_regular, sha256_file
from ingot.training.data.json_array import read_array


@dataclass(frozen=True)
class Record:
    """One line of a file: a JSON object and its origin."""

    values: Mapping[str, Any]
    origin: str
    """Such as ``talks.jsonl:12``."""

    def text(self, field: str, *, empty: bool = False) -> str:
        """Return a field that must be a text, not empty unless ``empty`` allows it.

        Raises:
            CorpusError: it is missing, no text, empty, or holds half a surrogate pair.
        """
        if field not in self.values:
            self.refuse(f"has no {field!r}", "give it as text, or remove the line")
        return self.checked(self.values[field], repr(field), empty=empty)

    def checked(self, value: object, name: str, *, empty: bool = False) -> str:
        """Return a value that must be a text; ``name`` stands for it in an error."""
        if not isinstance(value, str):
            self.refuse(f"{name} is {kind_of(value)}, not text", "give it as text")
        if not (empty or value.strip()):
            self.refuse(f"{name} is empty", "fill it in, or remove the line")
        try:
            value.encode()
        except UnicodeEncodeError:
            self.refuse(f"{name} holds half a surrogate pair", "correct or remove the line")
        return value

    def refuse(self, what: str, fix: str) -> NoReturn:
        """Raise a ``CorpusError`` about this line."""
        raise CorpusError(what, where=self.origin, fix=fix)


def read_records(paths: Sequence[Path]) -> Iterator[Record]:
    """Yield every object of JSONL files and JSON arrays, compressed or not.

    Blank lines are ignored. A file that begins with ``[`` is an array.

    Raises:
        CorpusError: a file cannot be read or holds no record; a line is too long, not
            UTF-8, or not a JSON object.
    """
    fix = "name a JSONL file, or a JSON array of objects"
    for path in paths:
        found = False
        with open_regular(path, CorpusError, fix=fix) as raw:
            try:
                for record in _records(raw, path):
                    found = True
                    yield record
            except OSError as error:
                raise CorpusError(
                    f"cannot be read ({error.strerror})", where=path, fix="check the disk"
                ) from error
            except UndecodableError as error:
                raise CorpusError(f"cannot be decoded ({error})", where=path, fix=fix) from error
        if not found:
            raise CorpusError("holds no line", where=path, fix="name a JSONL file with examples")


def _records(raw: BinaryIO, path: Path) -> Iterator[Record]:
    compressed = path.suffix.lower() in COMPRESSED
    head, stream = read_head(open_decompressed(raw, path) if compressed else raw)
    if encoding := marked_encoding(head):
        head, stream = read_head(recoded(stream, encoding))
    mark = len(codecs.BOM_UTF8) if head.startswith(codecs.BOM_UTF8) else 0
    if head[mark:].lstrip().startswith(b"["):
        stream.read(mark)
        yield from (Record(values, origin) for values, origin in read_array(stream, path))
    else:
        yield from map(_parse, read_lines(stream, path))


def _parse(line: Line) -> Record:
    try:
        return Record(line.parse(), line.origin)
    except UnicodeDecodeError as error:
        raise CorpusError(
            f"is not UTF-8 (byte {error.start})", where=line.origin, fix="convert the file"
        ) from error


def count_few(paths: Sequence[Path], most: int) -> int | None:
    """Return the number of records if it is below ``most``, without reading on; None otherwise.

    Raises:
        CorpusError: as ``read_records``.
    """
    count = sum(1 for _ in itertools.islice(read_records(paths), most))
    return count if count < most else None


def data_digest(paths: Sequence[Path]) -> str:
    """Return the SHA-256 over the contents of the files.

    Raises:
        CorpusError: a file cannot be read.
    """
    digest = hashlib.sha256()
    for path in paths:
        digest.update(sha256_file(path, CorpusError).encode())
    return digest.hexdigest()
