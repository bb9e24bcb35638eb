"""Streaming decompression of whole files; truncated files and bombs are refused."""

from __future__ import annotations

import bz2
import io
import lzma
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Protocol

import zstandard

from ingot.errors import CorpusError

# A 4-byte zstandard block can decompress to 128 KiB, so 2 KiB of input give at most 64 MiB.
_READ_BYTES = 2 << 10
# Text compresses 3 to 10 times, logs up to about 100 times.
_MAX_RATIO = 250
_FREE_BYTES = 64 << 20  # no ratio is checked below this much output
_XZ_MEMORY = 256 << 20  # xz -9 needs 65 MiB; a header may ask for 4 GiB
_ZSTD_WINDOW = 1 << 27  # the largest that the zstd tool accepts without --long


class _Decompressor(Protocol):
    """Common interface of the libraries' decompressors of one frame or member."""

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
        self._new_frame = _NEW_FRAME[path.suffix.lower()]
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
        except _DAMAGED as error:
            raise CorpusError(
                f"cannot be decompressed ({error})",
                where=self._path,
                fix="fetch or compress the file again",
            ) from error
        self._input = b""
        if self._frame.eof:
            # The next member, stream or frame begins in the bytes that are left.
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
    """Return a reader of the decompressed bytes of a file; its suffix names the format."""
    return io.BufferedReader(DecompressingReader(raw, path), buffer_size=1 << 16)


def _gzip_member() -> _Decompressor:
    return zlib.decompressobj(wbits=31)


def _zstd_frame() -> _Decompressor:
    return zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW).decompressobj()


def _xz_stream() -> _Decompressor:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)


_NEW_FRAME: dict[str, Callable[[], _Decompressor]] = {
    ".bz2": bz2.BZ2Decompressor,
    ".gz": _gzip_member,
    ".xz": _xz_stream,
    ".zst": _zstd_frame,
}
# bz2 reports damaged data as OSError; no file is read inside ``decompress``.
_DAMAGED = (zlib.error, zstandard.ZstdError, lzma.LZMAError, OSError, EOFError)

COMPRESSED = frozenset(_NEW_FRAME)
"""Suffixes of compressed files."""
