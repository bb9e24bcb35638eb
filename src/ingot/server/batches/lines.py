"""Lines of a batch's input, read as a stream."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

from ingot.errors import ServeError
from ingot.files import open_regular


@dataclass(frozen=True)
class Line:
    """One request of a batch."""

    index: int
    """Its place among the requests, from 0."""
    custom_id: str
    body: Any
    """The request's body, parsed."""


class LineReader:
    """Reads the requests of a checked input in order, some at a time. Used in one thread at a time.

    Args:
        path: The input.

    Raises:
        ServeError: it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._file = open_regular(path, ServeError)
        self._lines = _numbered(self._file)

    def take(self, count: int, done: set[int]) -> list[Line]:
        """Return the next requests that are not done, at most ``count``; none at the end.

        Raises:
            ServeError: the input has changed since it was checked.
        """
        wanted = (entry for entry in self._lines if entry[0] not in done)
        return [_parsed(index, text) for index, text in islice(wanted, count)]

    def close(self) -> None:
        """Close the file; a ``take`` in another thread ends within a block of it."""
        self._file.close()


def _numbered(file: Any) -> Iterator[tuple[int, bytes]]:
    index = 0
    for text in file:
        if text.strip():
            yield index, text
            index += 1


def _parsed(index: int, text: bytes) -> Line:
    try:
        line = orjson.loads(text)
        return Line(index, str(line["custom_id"]), line["body"])
    except (ValueError, TypeError, KeyError) as error:
        raise ServeError(
            f"request {index + 1} is not what was checked", where="the batch's input"
        ) from error
