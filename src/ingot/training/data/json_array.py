"""Elements of a JSON array, read as a stream, so that a large file needs no more memory."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from ingot.errors import CorpusError

MAX_ELEMENT = 4 << 20
"""Most characters of one element; parsed, its values take up to 30 times that memory."""

_BLOCK = 64 << 10
_SPACE = " \t\r\n"
_KINDS = {"[": "a list", '"': "text", "t": "true", "f": "false", "n": "null", "]": "missing"}


def read_array(stream: BinaryIO, path: Path) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield each object of an array, and its origin, such as ``talks.json[3]``.

    Raises:
        CorpusError: the file is not an array of objects, or one is too long.
    """
    text = _Text(stream, path)
    text.expect("[", f"{path}")
    number = 0
    while (following := text.peek()) != "]":
        origin = f"{path}[{number}]"
        if number:
            text.expect(",", origin)
            following = text.peek()
        if following != "{":
            raise CorpusError(
                f"is {_KINDS.get(following, 'a number')}, not an object",
                where=origin,
                fix="write an array of objects, or one JSON object per line",
            )
        yield text.object(origin), origin
        number += 1
    text.expect("]", f"{path}")
    if text.peek():
        raise CorpusError("continues after its array", where=path, fix="remove what follows")


class _Text:
    """Decoded text of a stream, of which one element at a time is in memory."""

    def __init__(self, stream: BinaryIO, path: Path) -> None:
        self._stream, self._path = stream, path
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._held = ""
        self._ended = False

    def peek(self) -> str:
        """Return the next character that is not white space; empty at the end."""
        self._held = self._held.lstrip(_SPACE)
        while not self._held and self._read(_BLOCK):
            self._held = self._held.lstrip(_SPACE)
        return self._held[:1]

    def expect(self, character: str, where: str) -> None:
        """Skip one character that must come next."""
        if self.peek() != character:
            found = repr(self._held[:1]) if self._held else "the end of the file"
            raise CorpusError(
                f"is not valid JSON (expected {character!r}, found {found})",
                where=where,
                fix="correct the file",
            )
        self._held = self._held[1:]

    def object(self, where: str) -> dict[str, Any]:
        """Return the object that comes next."""
        decoder = json.JSONDecoder()
        while True:
            try:
                value, end = decoder.raw_decode(self._held)
            except (ValueError, RecursionError) as error:
                # It may only be incomplete: read as much again, so that all attempts together
                # parse a few times its length.
                if len(self._held) <= MAX_ELEMENT and self._read(max(_BLOCK, len(self._held))):
                    continue
                if len(self._held) > MAX_ELEMENT:
                    what = f"is longer than {MAX_ELEMENT >> 20} MiB, or is not valid JSON"
                else:
                    what = f"is not valid JSON ({error})"
                raise CorpusError(what, where=where, fix="correct or shorten it") from error
            self._held = self._held[end:]
            found: dict[str, Any] = value
            return found

    def _read(self, size: int) -> bool:
        """Read on; return whether there was anything."""
        if self._ended:
            return False
        block = self._stream.read(size)
        self._ended = not block
        try:
            self._held += self._decoder.decode(block, final=self._ended)
        except UnicodeDecodeError as error:
            raise CorpusError("is not UTF-8", where=self._path, fix="convert the file") from error
        return bool(block)
