"""Streaming decompression of gzip and zstandard files; truncated files and bombs are refused."""

from __future__ import annotations

import io
import zlib
from pathlib import Path
from typing import BinaryIO, Protocol

import zstandard

from ingot.errors import CorpusError

COMPRESSED = {".gz", ".zst"}

# A 4-byte zstandard block can decompress to 128 KiB, so 2 KiB of input give at most 64 MiB.
_READ_BYTES = 2 << 10
# Text compresses 3 to 10 times, logs up to about 100 times.
_MAX_RATIO = 250
_FREE_BYTES = 64 << 20  # no ratio is checked below this much output
_ZSTD_WINDOW = 1 << 27  # the largest that the zstd tool accepts without --long


class _Decompressor(Protocol):
    """Common interface of zlib's and zstandard's one-frame decompressors."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, /) -> bytes: ...


class DecompressingReader(io.RawIOBase):
    """Stream that decompresses a file while it is read.

    It replaces the libraries' own readers because zstandard's reader accepts a
    truncated file as complete.

    Args:
        raw: The compressed file, read from its current offset.
        path: Its name, for error messages.

    Raises:
        CorpusError: on reading, if the file is truncated, damaged or a decompression bomb.
    """

    def __init__(self, raw: BinaryIO, path: Path) -> None:
        self._raw = raw
        self._path = path
        self._new_frame = _gzip_member if path.suffix.lower() == ".gz" else _zstd_frame
        self._frame: _Decompressor | None = None
        self._input = b""
        self._output = memoryview(b"")
        self._bytes_in = 0
        self._bytes_out = 0

    def readable(self) -> bool:
        """Return True: the stream is read-only."""
        return True

    def readinto(self, buffer: object) -> int:
        """Fill ``buffer`` with decompressed bytes; return their number, 0 at the end."""
        while not self._output:
            if not self._decompress_more():
                return 0
        target = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        count = min(len(target), len(self._output))
        target[:count] = self._output[:count]
        self._output = self._output[count:]
        return count

    def _decompress_more(self) -> bool:
        """Decompress the next block of input; return False at the end of the file."""
        data = self._input or self._raw.read(_READ_BYTES)
        if not data:
            if self._frame is not None or self._bytes_in == 0:
                raise CorpusError(
                    "is truncated", where=self._path, fix="fetch or compress the file again"
                )
            return False
        self._bytes_in += len(data)
        self._frame = self._frame or self._new_frame()
        try:
            output = self._frame.decompress(data)
        except (zlib.error, zstandard.ZstdError) as error:
            raise CorpusError(
                f"cannot be decompressed ({error})",
                where=self._path,
                fix="fetch or compress the file again",
            ) from error
        self._input = b""
        if self._frame.eof:
            # The next gzip member or zstandard frame begins in the bytes that are left.
            self._input = self._frame.unused_data
            self._bytes_in -= len(self._input)
            self._frame = None
        self._bytes_out += len(output)
        self._refuse_bomb()
        self._output = memoryview(output)
        return True

    def _refuse_bomb(self) -> None:
        if self._bytes_out > _FREE_BYTES and self._bytes_out > _MAX_RATIO * self._bytes_in:
            raise CorpusError(
                f"decompresses to more than {_MAX_RATIO} times its size, more than text can",
                where=self._path,
                fix="decompress it yourself if you trust it",
            )


def open_decompressed(raw: BinaryIO, path: Path) -> io.BufferedReader:
    """Return a buffered reader of the decompressed bytes of a ``.gz`` or ``.zst`` file."""
    return io.BufferedReader(DecompressingReader(raw, path), buffer_size=1 << 16)


def _gzip_member() -> _Decompressor:
    return zlib.decompressobj(wbits=31)


def _zstd_frame() -> _Decompressor:
    return zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW).decompressobj()
