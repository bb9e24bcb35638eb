"""Streams of UTF-8 made of text in another encoding."""

from __future__ import annotations

import codecs
import io
from typing import BinaryIO

_BLOCK = 64 << 10


class UndecodableError(Exception):
    """Error for bytes that are not in the encoding that the file's byte order mark names."""


def recoded(stream: BinaryIO, encoding: str) -> BinaryIO:
    """Return a stream of the same text in UTF-8, without a byte order mark.

    Raises:
        UndecodableError: on reading, if the text is not in ``encoding``.
    """
    return io.BufferedReader(_RecodingReader(stream, encoding), buffer_size=_BLOCK)


class _RecodingReader(io.RawIOBase):
    """Stream of UTF-8 made while a text in another encoding is read."""

    def __init__(self, stream: BinaryIO, encoding: str) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._output = memoryview(b"")
        self._ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        while not self._output and not self._ended:
            block = self._stream.read(_BLOCK)
            self._ended = not block
            try:
                text = self._decoder.decode(block, final=self._ended)
                self._output = memoryview(text.encode())
            except UnicodeError as error:
                raise UndecodableError(str(error)) from error
        target = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        count = min(len(target), len(self._output))
        target[:count] = self._output[:count]
        self._output = self._output[count:]
        return count
