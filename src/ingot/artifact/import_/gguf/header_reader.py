"""A reader of the parts of a GGUF header; every length is checked before it is used."""

from __future__ import annotations

import struct
from io import BufferedReader

import numpy as np
from numpy.typing import NDArray

from ingot.errors import ArtifactError

MAX_HEADER_BYTES = 64 << 20
"""Longest header; those of the largest vocabularies have some 20 MB."""
MAX_ELEMENTS = 1 << 20
"""Most elements of one array; the largest vocabulary has some 500,000 merges."""

Value = int | float | bool | str | list[str] | NDArray[np.generic]
"""What metadata can hold; arrays of numbers come as NumPy arrays, of texts as lists."""

_STRING, _ARRAY, _BOOL, _FLOAT32 = 8, 9, 7, 6
_NUMBERS: dict[int, str] = {
    0: "<u1",
    1: "<i1",
    2: "<u2",
    3: "<i2",
    4: "<u4",
    5: "<i4",
    _FLOAT32: "<f4",
    _BOOL: "<u1",
    10: "<u8",
    11: "<i8",
    12: "<f8",
}
"""dtype of each kind of number, by its number in the file."""
_LENGTH = struct.Struct("<Q")
_KIND = struct.Struct("<I")


class HeaderReader:
    """Reads a header from front to back.

    Args:
        file: The file, at its first byte.
        size: Its size in bytes.
        where: What to call it in an error.
    """

    def __init__(self, file: BufferedReader, size: int, where: object) -> None:
        self._file, self._where = file, where
        self._end = min(size, MAX_HEADER_BYTES)
        self._too_long = size > MAX_HEADER_BYTES
        self.offset = 0
        """Bytes read so far."""

    def bytes(self, count: int) -> bytes:
        """Return the next bytes.

        Raises:
            ArtifactError: the file, or what a header may have, ends before.
        """
        if count > self._end - self.offset:
            raise ArtifactError(
                f"has a header of more than {MAX_HEADER_BYTES:,} bytes"
                if self._too_long
                else "is truncated inside its header",
                where=self._where,
                fix="fetch the file again",
            )
        try:
            data = self._file.read(count)
        except OSError as error:
            raise ArtifactError(f"cannot be read ({error.strerror})", where=self._where) from error
        if len(data) != count:
            raise ArtifactError("was cut short while it was read", where=self._where)
        self.offset += count
        return data

    def u32(self) -> int:
        """Return the next unsigned number of 32 bits."""
        value: int = _KIND.unpack(self.bytes(4))[0]
        return value

    def u64(self) -> int:
        """Return the next unsigned number of 64 bits."""
        value: int = _LENGTH.unpack(self.bytes(8))[0]
        return value

    def text(self, what: str, *, max_bytes: int = MAX_HEADER_BYTES) -> str:
        """Return the next text; ``what`` names it in an error."""
        length = self.u64()
        if length > max_bytes:
            raise self._wrong(what, f"has {length} bytes, more than {max_bytes:,}")
        data = self.bytes(length)
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise self._wrong(what, "is not UTF-8") from error

    def value(self, key: str) -> Value:
        """Return the next value of metadata with its type before it."""
        kind = self.u32()
        if kind == _ARRAY:
            return self._array(key)
        if kind == _STRING:
            return self.text(key)
        value = self._numbers(key, kind, 1)[0]
        if kind == _FLOAT32:  # 1e-05, which is what was meant, and not 9.999999747378752e-06
            return float(str(value))
        plain: int | float | bool = value.item()
        return plain

    def _array(self, key: str) -> list[str] | NDArray[np.generic]:
        kind, count = self.u32(), self.u64()
        if count > MAX_ELEMENTS:
            raise self._wrong(key, f"has {count} elements, more than {MAX_ELEMENTS:,}")
        if kind != _STRING:
            return self._numbers(key, kind, count)
        if count * _LENGTH.size > self._end - self.offset:  # before a list of that length is made
            self.bytes(count * _LENGTH.size)
        return [self.text(key) for _ in range(count)]

    def _numbers(self, key: str, kind: int, count: int) -> NDArray[np.generic]:
        if kind not in _NUMBERS:
            raise self._wrong(key, f"has elements of type {kind}, which is not supported")
        dtype = np.dtype(_NUMBERS[kind])
        values = np.frombuffer(self.bytes(count * dtype.itemsize), dtype=dtype)
        if kind != _BOOL:
            return values
        if (values > 1).any():
            raise self._wrong(key, "holds a truth value that is neither 0 nor 1")
        return values.astype(np.bool_)

    def _wrong(self, what: str, problem: str) -> ArtifactError:
        return ArtifactError(f"{what[:200]} {problem}", where=self._where)
