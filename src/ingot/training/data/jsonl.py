"""JSONL files of examples, read line by line and trusted in nothing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from ingot.corpus.reading.decompress import COMPRESSED, open_decompressed
from ingot.errors import CorpusError
from ingot.files import sha256_file

_LINE_BYTES = 16 << 20
_KINDS: dict[type, str] = {
    dict: "an object",
    list: "a list",
    str: "text",
    int: "a number",
    float: "a number",
    bool: "true or false",
    type(None): "null",
}


@dataclass(frozen=True)
class Record:
    """One line of a file: a JSON object, and where it stands."""

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
    """Yield every line of JSONL files, compressed or not; blank lines mean nothing.

    Raises:
        CorpusError: a file cannot be read or holds no line; a line is too long, not
            UTF-8, or no JSON object.
    """
    for path in paths:
        found = False
        try:
            with path.open("rb") as raw:
                compressed = path.suffix.lower() in COMPRESSED
                for record in _lines(open_decompressed(raw, path) if compressed else raw, path):
                    found = True
                    yield record
        except OSError as error:
            raise CorpusError(
                f"cannot be read ({error.strerror})", where=path, fix="name a JSONL file"
            ) from error
        if not found:
            raise CorpusError("holds no line", where=path, fix="name a JSONL file with examples")


def kind_of(value: object) -> str:
    """Return what JSON calls the type of a value."""
    return _KINDS[type(value)]


def _lines(stream: BinaryIO, path: Path) -> Iterator[Record]:
    number = 0
    while line := stream.readline(_LINE_BYTES + 1):
        number += 1
        origin = f"{path}:{number}"
        if len(line) > _LINE_BYTES:
            raise CorpusError(
                f"line is longer than {_LINE_BYTES >> 20} MiB", where=origin, fix="shorten it"
            )
        if line.strip():
            yield Record(_parse(line, origin, first=number == 1), origin)


def _parse(line: bytes, origin: str, *, first: bool) -> dict[str, Any]:
    try:
        value = json.loads(line.decode("utf-8-sig" if first else "utf-8"))
    except UnicodeDecodeError as error:
        raise CorpusError(
            f"is not UTF-8 (byte {error.start})", where=origin, fix="convert the file"
        ) from error
    except (ValueError, RecursionError) as error:
        raise CorpusError(
            f"is not valid JSON ({error})", where=origin, fix="correct or remove the line"
        ) from error
    if not isinstance(value, dict):
        raise CorpusError(
            f"is {kind_of(value)}, not a JSON object", where=origin, fix="write one object a line"
        )
    return value


def data_digest(paths: Sequence[Path]) -> str:
    """Return what tells files of conversations or pairs from others.

    Raises:
        CorpusError: a file cannot be read.
    """
    digest = hashlib.sha256()
    for path in paths:
        try:
            digest.update(sha256_file(path).encode())
        except OSError as error:
            raise CorpusError(f"cannot be read ({error.strerror})", where=path) from error
    return digest.hexdigest()
