"""Streaming decompression of whole files; truncated files and bombs are refused."""

from __future__ import annotations

import bz2
import io
import lzma
import zlib
from collections.abc import Callable
from pathlib import PurePath
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
        path: Its suffix names the format.
        where: Its name for messages, if that is another one.

    Raises:
        CorpusError: on reading, if the file is truncated, damaged or a decompression bomb.
    """

    def __init__(self, raw: BinaryIO, path: PurePath, where: object = None) -> None:
        self._raw = raw
        self._where = where or path
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
                    "is truncated", where=self._where, fix="fetch or compress the file again"
                )
            return False
        self._bytes_in += len(data)
        self._frame = self._frame or self._new_frame()
        try:
            output = self._frame.decompress(data)
        except _DAMAGED as error:
            raise CorpusError(
                f"cannot be decompressed ({error})",
                where=self._where,
                fix="fetch or compress the file again",
            ) from error
        self._input = b""
        if self._frame.eof:
            # The next member, stream or frame begins in the bytes that are left.
            self._input = self._frame.unused_data
            self._bytes_in -= len(self._input)
            self._frame = None
        self._bytes_out += len(output)
        refuse_bomb(self._bytes_in, self._bytes_out, self._where)
        self._output = memoryview(output)
        return True


def refuse_bomb(bytes_in: int, bytes_out: int, where: object) -> None:
    """Refuse data that decompresses to more than text can.

    Raises:
        CorpusError: ``bytes_out`` are too many for ``bytes_in``.
    """
    if bytes_out > _FREE_BYTES and bytes_out > _MAX_RATIO * bytes_in:
        raise CorpusError(
            f"decompresses to more than {_MAX_RATIO} times its size, more than text can",
            where=where,
            fix="decompress it yourself if you trust it",
        )


class Expansion:
    """Bytes that the members of an archive decompress to, through all layers of compression.

    Attributes:
        size: Length of the archive.
    """

    def __init__(self, size: int, where: object) -> None:
        self.size = size
        self._where, self._done = where, 0

    def counting(self, stream: BinaryIO) -> io.BufferedReader:
        """Return a stream whose bytes are counted as they are read.

        Raises:
            CorpusError: on reading, if there are more of them than text can give.
        """
        return io.BufferedReader(_CountedReader(stream, self), buffer_size=1 << 16)

    def add(self, count: int) -> None:
        """Count decompressed bytes."""
        self._done += count
        refuse_bomb(self.size, self._done, self._where)


class _CountedReader(io.RawIOBase):
    def __init__(self, stream: BinaryIO, expansion: Expansion) -> None:
        self._stream, self._expansion = stream, expansion

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        target = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        data = self._stream.read(len(target))
        self._expansion.add(len(data))
        target[: len(data)] = data
        return len(data)


def open_decompressed(raw: BinaryIO, path: PurePath, where: object = None) -> io.BufferedReader:
    """Return a reader of the decompressed bytes of a file; see ``DecompressingReader``."""
    return io.BufferedReader(DecompressingReader(raw, path, where), buffer_size=1 << 16)


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
    # The usual short names of compressed tar archives.
    ".tbz": bz2.BZ2Decompressor,
    ".tbz2": bz2.BZ2Decompressor,
    ".tgz": _gzip_member,
    ".txz": _xz_stream,
    ".tzst": _zstd_frame,
}
# bz2 reports damaged data as OSError; no file is read inside ``decompress``.
_DAMAGED = (zlib.error, zstandard.ZstdError, lzma.LZMAError, OSError, EOFError)

COMPRESSED = frozenset(_NEW_FRAME)
"""Suffixes of compressed files."""
