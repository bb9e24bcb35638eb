"""A strict reader of GGUF files, versions 2 and 3.

Format (github.com/ggml-org/ggml, ``docs/gguf.md``): magic, version, counts, metadata, descriptions
of the tensors, and their data, aligned, in the same order, without holes. Everything in a file is
taken as hostile until checked. A path may be a link, as those of Hugging Face's cache are: it was
given by the user, and nothing in the file names another one.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ingot.artifact.import_.gguf.block_types import OTHERS, TYPES, BlockType
from ingot.artifact.import_.gguf.dequantize import dequantize
from ingot.artifact.import_.gguf.header_reader import HeaderReader, Value
from ingot.errors import ArtifactError
from ingot.files import open_regular

MAGIC = b"GGUF"
VERSIONS = (2, 3)
MAX_TENSORS = 1 << 16
MAX_KEYS = 1 << 14

_ALIGNMENT_KEY, _ALIGNMENT, _MAX_ALIGNMENT = "general.alignment", 32, 1 << 20
_MAX_DIMENSIONS, _MAX_NAME, _MAX_KEY = 4, 63, 1024
_LARGEST_READ = 1 << 30  # one system call reads at most 2 GiB
_AGAIN = "fetch the file again"


@dataclass(frozen=True)
class TensorRecord:
    """What a header says about one tensor."""

    kind: BlockType
    shape: tuple[int, ...]
    """Rows first, as NumPy has it; the file has the innermost dimension first."""
    start: int
    """Offset of its first byte in the file."""

    @property
    def nbytes(self) -> int:
        """Bytes of its data."""
        return math.prod(self.shape) // self.kind.values * self.kind.nbytes


class GgufFile:
    """An open GGUF file whose header is read and checked; close it, or use it as a context manager.

    Raises:
        ArtifactError: it is not a regular file, truncated or malformed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = open_regular(path, ArtifactError)
        try:
            self._identity = self._identify()
            self.nbytes = os.fstat(self._file.fileno()).st_size
            """Bytes of the file when it was opened."""
            reader = HeaderReader(self._file, self.nbytes, path)
            tensors, keys = self._read_counts(reader)
            self.metadata: Mapping[str, Value] = self._read_metadata(reader, keys)
            """Every key and its value."""
            self.tensors: Mapping[str, TensorRecord] = self._read_tensors(reader, tensors)
            """Every tensor by its name, in the order of the file."""
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def read(self, name: str, rows: tuple[int, int] | None = None) -> NDArray[np.float32]:
        """Return a tensor's values, dequantized.

        Args:
            name: The tensor.
            rows: First and last (exclusive) row to read; None reads all.

        Raises:
            ArtifactError: the file was changed or cut short since it was opened.
        """
        record = self.tensors[name]
        first, last = rows or (0, record.shape[0])
        row_bytes = record.nbytes // record.shape[0]
        if len(record.shape) == 1:  # its values are rows, and may share a block
            row_bytes, first, last = record.nbytes, 0, 1
        data = memoryview(bytearray((last - first) * row_bytes))
        self._read_into(data, record.start + first * row_bytes)
        self.check_unchanged()
        values = dequantize(data, record.kind)
        if len(record.shape) == 1:
            return values if rows is None else values[slice(*rows)]
        return values.reshape(last - first, *record.shape[1:])

    def sha256(self) -> str:
        """Return the SHA-256 of the whole file in hexadecimal; raises as ``read`` does."""
        digest = hashlib.sha256()
        scratch = memoryview(bytearray(min(self.nbytes, 1 << 20)))
        for offset in range(0, self.nbytes, len(scratch)):
            chunk = scratch[: min(len(scratch), self.nbytes - offset)]
            self._read_into(chunk, offset)
            digest.update(chunk)
        self.check_unchanged()
        return digest.hexdigest()

    def check_unchanged(self) -> None:
        """Refuse a file that is no longer what it was when it was opened."""
        if self._identify() != self._identity:
            raise ArtifactError(
                "was changed while it was read",
                where=self.path,
                fix="try again when nothing writes to it",
            )

    def _identify(self) -> tuple[int, ...]:
        status = os.fstat(self._file.fileno())
        return (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)

    def _read_into(self, memory: memoryview, offset: int) -> None:
        """Fill ``memory`` with the bytes from ``offset`` on."""
        while memory:
            try:
                count = os.preadv(self._file.fileno(), [memory[:_LARGEST_READ]], offset)
            except OSError as error:
                raise ArtifactError(
                    f"cannot be read ({error.strerror})", where=self.path
                ) from error
            if not count:
                raise ArtifactError("was cut short while it was read", where=self.path)
            memory, offset = memory[count:], offset + count

    def _read_counts(self, reader: HeaderReader) -> tuple[int, int]:
        """Check magic and version; return the numbers of tensors and of keys."""
        if reader.bytes(len(MAGIC)) != MAGIC:
            raise ArtifactError("is not a GGUF file", where=self.path)
        version = reader.u32()
        if version not in VERSIONS:
            swapped = int.from_bytes(version.to_bytes(4, "little"), "big")
            raise self._wrong(
                f"is of GGUF version {version}, not 2 or 3"
                if swapped not in VERSIONS
                else "is big-endian, which is not supported",
                "convert the model again with a current converter",
            )
        tensors, keys = reader.u64(), reader.u64()
        if tensors > MAX_TENSORS:
            raise self._wrong(f"lists {tensors} tensors, more than {MAX_TENSORS:,}", _AGAIN)
        if keys > MAX_KEYS:
            raise self._wrong(f"lists {keys} keys, more than {MAX_KEYS:,}", _AGAIN)
        return tensors, keys

    def _read_metadata(self, reader: HeaderReader, count: int) -> dict[str, Value]:
        metadata: dict[str, Value] = {}
        for _ in range(count):
            key = reader.text("a key", max_bytes=_MAX_KEY)
            if not key or key in metadata:
                raise self._wrong(f"key {key!r} is empty or occurs twice", _AGAIN)
            metadata[key] = reader.value(key)
        return metadata

    def _read_tensors(self, reader: HeaderReader, count: int) -> dict[str, TensorRecord]:
        """Return the tensors; their data must follow each other, aligned, up to the file's end."""
        described: dict[str, tuple[BlockType, tuple[int, ...], int]] = {}
        for _ in range(count):
            name = reader.text("the name of a tensor", max_bytes=_MAX_NAME)
            if not name or name in described:
                raise self._wrong(f"tensor {name!r} has no name or occurs twice", _AGAIN)
            described[name] = self._read_tensor(reader, name)
        alignment = self._alignment()
        start = end = _aligned(reader.offset, alignment)
        tensors: dict[str, TensorRecord] = {}
        for name, (kind, shape, offset) in described.items():
            record = TensorRecord(kind, shape, start + offset)
            if record.start != _aligned(end, alignment):
                raise self._wrong(f"tensor {name!r} leaves a hole or overlaps another", _AGAIN)
            end = record.start + record.nbytes
            if end > self.nbytes:
                raise self._wrong(f"is truncated: tensor {name!r} ends at byte {end}", _AGAIN)
            tensors[name] = record
        if self.nbytes > _aligned(end, alignment):
            raise self._wrong(f"has {self.nbytes - end} bytes that belong to no tensor", _AGAIN)
        return tensors

    def _read_tensor(
        self, reader: HeaderReader, name: str
    ) -> tuple[BlockType, tuple[int, ...], int]:
        """Return type, shape and offset of a tensor, each checked alone."""
        dimensions = reader.u32()
        if not 1 <= dimensions <= _MAX_DIMENSIONS:
            raise self._wrong(f"tensor {name!r} has {dimensions} dimensions, not 1 to 4", _AGAIN)
        shape = tuple(reader.u64() for _ in range(dimensions))[::-1]
        number, offset = reader.u32(), reader.u64()
        if number not in TYPES:
            readable = ", ".join(kind.name for kind in TYPES.values())
            raise self._wrong(
                f"tensor {name!r} is of type {OTHERS.get(number, number)}, which is not supported",
                f"use one of {readable}",
            )
        kind = TYPES[number]
        # The product is a Python integer: it cannot overflow before it is compared.
        if 0 in shape or math.prod(shape) > self.nbytes * kind.values:
            raise self._wrong(f"tensor {name!r} of shape {shape} is not in this file", _AGAIN)
        if shape[-1] % kind.values:
            raise self._wrong(
                f"tensor {name!r} has rows of {shape[-1]} values, not whole blocks of {kind.name}",
                _AGAIN,
            )
        return kind, shape, offset

    def _alignment(self) -> int:
        alignment = self.metadata.get(_ALIGNMENT_KEY, _ALIGNMENT)
        if (
            type(alignment) is not int  # and not a truth value
            or not 1 <= alignment <= _MAX_ALIGNMENT
            or alignment & (alignment - 1)
        ):
            raise self._wrong(f"{_ALIGNMENT_KEY} is not a power of two up to 2^20", _AGAIN)
        return alignment

    def _wrong(self, what: str, fix: str) -> ArtifactError:
        return ArtifactError(what, where=self.path, fix=fix)


def _aligned(offset: int, alignment: int) -> int:
    """Return the next multiple of the alignment."""
    return -(-offset // alignment) * alignment
