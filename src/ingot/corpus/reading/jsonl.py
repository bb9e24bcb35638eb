"""JSONL lines: bounded, decoded and parsed, each error with file and line."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from ingot.corpus.encodings import decode
from ingot.errors import CorpusError

MAX_LINE_BYTES = 64 << 20
"""Longest line that is read; a line without end would otherwise fill the memory."""

MAX_VALUES = 1 << 18
"""Most values of one line: each takes some 60 bytes of memory, far more than in the file."""

# What lies before a separator that is not in a text, and the separator. It matches from anywhere,
# also where a text does not end, so that the whole line is read once.
_SEPARATOR = re.compile(
    rb'(?:[^",\[{]++|"(?:[^"\\]|\\(?:.|\Z))*+(?:"|\Z))*+(?:([,\[{])|\Z)', re.DOTALL
)

_KINDS: dict[type, str] = {
    dict: "an object",
    list: "a list",
    str: "text",
    int: "a number",
    float: "a number",
    bool: "true or false",
    type(None): "null",
}


class Line(NamedTuple):
    """One line of a file.

    Attributes:
        data: Its bytes.
        path: The file.
        number: Its number, from 1.
    """

    data: bytes
    path: Path
    number: int

    @property
    def origin(self) -> str:
        """File and line, such as ``talks.jsonl:12``."""
        return f"{self.path}:{self.number}"

    def __str__(self) -> str:
        return self.origin

    def decode(self, encoding: str | None = None) -> str:
        """Return the text of the line, without the byte order mark of a file's first line.

        Args:
            encoding: Encoding of a line that is not UTF-8.

        Raises:
            UnicodeDecodeError: the line is in neither.
        """
        data = self.data.removeprefix(codecs.BOM_UTF8) if self.number == 1 else self.data
        return decode(data, encoding)

    def refuse_crowded(self) -> None:
        """Refuse a line of so many values that parsing it would fill the memory.

        Raises:
            CorpusError: it holds more than ``MAX_VALUES``.
        """
        if len(self.data) > MAX_VALUES:
            separators = (one for one in _SEPARATOR.finditer(self.data) if one.lastindex)
            if any(number == MAX_VALUES for number, _ in enumerate(separators)):
                raise CorpusError(
                    f"holds more than {MAX_VALUES:,} values",
                    where=self.origin,
                    fix="split the line",
                )

    def parse(self, encoding: str | None = None) -> dict[str, Any]:
        """Return the JSON object of the line.

        Args:
            encoding: Encoding of a line that is not UTF-8.

        Raises:
            UnicodeDecodeError: the line is in neither.
            CorpusError: it is not a JSON object, or holds too many values.
        """
        self.refuse_crowded()
        text = self.decode(encoding)
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise CorpusError(
                f"is not valid JSON ({error})", where=self.origin, fix="correct or remove the line"
            ) from error
        if not isinstance(value, dict):
            raise CorpusError(
                f"is {kind_of(value)}, not a JSON object",
                where=self.origin,
                fix="write one JSON object per line",
            )
        return value


def read_lines(stream: BinaryIO, path: Path) -> Iterator[Line]:
    """Yield every line of a stream that is not blank.

    Args:
        stream: The file's bytes, decompressed.
        path: The file's name, for errors.

    Raises:
        CorpusError: a line is longer than ``MAX_LINE_BYTES``.
    """
    number = 0
    while data := stream.readline(MAX_LINE_BYTES + 1):
        number += 1
        if len(data) > MAX_LINE_BYTES:
            raise CorpusError(
                f"line is longer than {MAX_LINE_BYTES >> 20} MiB",
                where=f"{path}:{number}",
                fix="shorten it or split it",
            )
        if not data.isspace():
            yield Line(data, path, number)


def kind_of(value: object) -> str:
    """Return JSON's name for the type of a value."""
    return _KINDS[type(value)]
