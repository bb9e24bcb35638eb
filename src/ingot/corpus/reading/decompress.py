"""Reading gzip and zstandard files as streams, with truncation and bombs refused by name."""

from __future__ import annotations

import io
import zlib
from pathlib import Path
from typing import BinaryIO, Protocol

import zstandard

from ingot.errors import CorpusError

COMPRESSED = {".gz", ".zst"}

# One zstandard block of 4 bytes can stand for 128 KiB, so 2 KiB in is at most 64 MiB out.
_READ = 2 << 10
# Text compresses 3 to 10 times, logs up to about 100 times.
_MAX_RATIO = 250
_FREE_BYTES = 64 << 20
_ZSTD_WINDOW = 1 << 27  # what the zstd tool itself accepts without --long


class _Decompressor(Protocol):
    """What zlib's and zstandard's one-frame decompressors have in common."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, /) -> bytes: ...


class ExpandingReader(io.RawIOBase):
    """Expands a compressed file as it is read.

    The libraries' own readers are not used because zstandard's takes a
    truncated file for a whole one.

    Args:
        raw: The compressed file, read from its current place.
        path: Its name, for errors.

    Raises:
        CorpusError: on reading, if the file is truncated, damaged or a decompression bomb.
    """

    def __init__(self, raw: BinaryIO, path: Path) -> None:
        self._raw = raw
        self._path = path
        self._new = _gzip_member if path.suffix.lower() == ".gz" else _zstd_frame
        self._frame: _Decompressor | None = None
        self._input = b""
        self._output = memoryview(b"")
        self._taken = 0
        self._given = 0

    def readable(self) -> bool:
        """Return True: the one thing it can do."""
        return True

    def readinto(self, buffer: object) -> int:
        """Fill ``buffer`` with expanded bytes; return how many, 0 at the end."""
        while not self._output:
            if not self._expand_some():
                return 0
        target = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        count = min(len(target), len(self._output))
        target[:count] = self._output[:count]
        self._output = self._output[count:]
        return count

    def _expand_some(self) -> bool:
        """Expand one more piece of input; return False at the end of the file."""
        data = self._input or self._raw.read(_READ)
        if not data:
            if self._frame is not None or self._taken == 0:
                raise CorpusError(
                    "is truncated", where=self._path, fix="fetch or compress the file again"
                )
            return False
        self._taken += len(data)
        self._frame = self._frame or self._new()
        try:
            output = self._frame.decompress(data)
        except (zlib.error, zstandard.ZstdError) as error:
            raise CorpusError(
                f"cannot be expanded ({error})",
                where=self._path,
                fix="fetch or compress the file again",
            ) from error
        self._input = b""
        if self._frame.eof:
            self._input = self._frame.unused_data
            self._taken -= len(self._input)
            self._frame = None
        self._given += len(output)
        self._refuse_bomb()
        self._output = memoryview(output)
        return True

    def _refuse_bomb(self) -> None:
        if self._given > _FREE_BYTES and self._given > _MAX_RATIO * self._taken:
            raise CorpusError(
                f"expands to more than {_MAX_RATIO} times its size, which text does not",
                where=self._path,
                fix="expand it yourself if you trust it",
            )


def open_expanded(raw: BinaryIO, path: Path) -> io.BufferedReader:
    """Return a buffered reader of the expanded bytes of a ``.gz`` or ``.zst`` file."""
    return io.BufferedReader(ExpandingReader(raw, path), buffer_size=1 << 16)


def _gzip_member() -> _Decompressor:
    return zlib.decompressobj(wbits=31)


def _zstd_frame() -> _Decompressor:
    return zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW).decompressobj()
