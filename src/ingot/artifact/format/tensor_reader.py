"""A strict reader of safetensors files, into memory that cannot be written.

Format (huggingface.co/docs/safetensors): eight bytes of little-endian header
length, a JSON header ``{name: {dtype, shape, data_offsets}}`` and the data,
without holes or overlaps. Everything in a file is taken as hostile until checked.
"""

from __future__ import annotations

import hashlib
import os
import stat
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ingot.artifact.format.sealed_memory import SealedBuffer
from ingot.errors import ArtifactError
from ingot.files import open_regular
from ingot.strict_json import parse_object

DTYPES: Mapping[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    "U8": np.dtype("u1"),
    "I8": np.dtype("i1"),
    "U16": np.dtype("<u2"),
    "I16": np.dtype("<i2"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),  # NumPy has no bfloat16: its bits
    "U32": np.dtype("<u4"),
    "I32": np.dtype("<i4"),
    "F32": np.dtype("<f4"),
    "U64": np.dtype("<u8"),
    "I64": np.dtype("<i8"),
    "F64": np.dtype("<f8"),
}
"""The dtypes read and written, by their names in the format."""

MAX_HEADER_BYTES = 16 << 20  # 100,000 tensors; keeps a hostile header out of memory
_MAX_DIMENSIONS = 32
_LENGTH_BYTES = 8
_LARGEST_READ = 1 << 30  # one system call reads at most 2 GiB
_CHUNK = 1 << 20  # a multiple of every item size, and small enough to stay in a core's cache


@dataclass(frozen=True)
class TensorEntry:
    """What a header says about one tensor."""

    dtype: str
    """Name of the dtype in the format, such as "BF16"; a key of ``DTYPES``."""
    shape: tuple[int, ...]
    start: int
    """Offset of its first byte in the file."""
    stop: int


@dataclass(frozen=True)
class StoredTensor:
    """One tensor in sealed memory. Using it keeps the memory alive."""

    name: str
    dtype: str
    """Name of the dtype in the format, such as "BF16"; a key of ``DTYPES``."""
    shape: tuple[int, ...]
    data: memoryview
    """The bytes, little-endian and row-major; read-only."""

    def array(self) -> NDArray[Any]:
        """Return a read-only array over the same memory; BF16 comes as its ``uint16`` bits."""
        return np.ndarray(self.shape, dtype=DTYPES[self.dtype], buffer=self.data)


class LoadedTensors(Mapping[str, StoredTensor]):
    """The tensors of one file by name, in the order of their bytes.

    They are a copy in sealed memory: a write through any pointer into it is a segmentation fault,
    and what happens to the file later changes nothing.
    """

    def __init__(
        self, memory: SealedBuffer, entries: Mapping[str, TensorEntry], metadata: Mapping[str, str]
    ) -> None:
        self._memory: SealedBuffer | None = memory
        self.contents = memory.readonly
        """Every byte of the file."""
        self.entries = entries
        self.metadata = metadata
        """The texts that the writer put beside the tensors."""
        self._tensors = {
            name: StoredTensor(name, each.dtype, each.shape, self.contents[each.start : each.stop])
            for name, each in entries.items()
        }

    def __getitem__(self, name: str) -> StoredTensor:
        return self._tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def chunks(self, start: int, stop: int) -> Iterator[memoryview]:
        """Yield the bytes between two offsets of the file in turn."""
        for offset in range(start, stop, _CHUNK):
            yield self.contents[offset : min(offset + _CHUNK, stop)]

    def discard(self, name: str) -> None:
        """Free the memory of one tensor, which nobody may read any more."""
        del self._tensors[name]
        if self._memory is not None:
            self._memory.discard(self.entries[name].start, self.entries[name].stop)

    def close(self) -> None:
        """Let go of the memory; it is freed when no array uses it any more."""
        self._tensors = {}
        self.contents = memoryview(b"")
        self._memory = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class TensorFile:
    """An open safetensors file whose header is read and checked; its data is still on disk.

    Args:
        handle: The file, open for reading; closed with this object.
        where: What to call it in an error.

    Raises:
        ArtifactError: it is not a regular file, truncated or malformed.
    """

    def __init__(self, handle: int, *, where: object) -> None:
        self._file = os.fdopen(handle, "rb", buffering=0)
        self._where = where
        try:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode):
                raise ArtifactError("is not a regular file", where=where)
            self.nbytes = status.st_size
            """Bytes of the file when it was opened."""
            self._header = self._read_header()
            self.metadata, self.entries = _parsed(self._header, self.nbytes, where)
        except BaseException:
            self.close()
            raise

    def chunks(self, start: int, stop: int) -> Iterator[memoryview]:
        """Yield the bytes between two offsets of the file in turn; each is gone with the next.

        The header is the one that was parsed, not what the file says by now.
        """
        if start < len(self._header):
            yield memoryview(self._header)[start:stop]
            start = len(self._header)
        scratch = memoryview(bytearray(min(_CHUNK, max(0, stop - start))))
        for offset in range(start, stop, _CHUNK):
            chunk = scratch[: min(_CHUNK, stop - offset)]
            self._read_into(chunk, offset)
            yield chunk

    def read(self, name: str, rows: tuple[int, int] | None = None) -> NDArray[Any]:
        """Return a copy of one tensor in ordinary memory; BF16 comes as its ``uint16`` bits.

        Args:
            name: The tensor.
            rows: First and last (exclusive) index along its first axis; None takes all.

        Raises:
            ArtifactError: the file was cut short meanwhile, or cannot be read.
        """
        entry = self.entries[name]
        shape, start, stop = entry.shape, entry.start, entry.stop
        if rows is not None:
            first, last = rows
            row_bytes = (stop - start) // shape[0]
            start, stop = start + first * row_bytes, start + last * row_bytes
            shape = (last - first, *shape[1:])
        array = np.empty(shape, dtype=DTYPES[entry.dtype])
        self._read_into(array.reshape(-1).view(np.uint8).data, start)
        return array

    def load(self) -> LoadedTensors:
        """Return a copy of the tensors in sealed memory. Each byte is read once.

        Raises:
            ArtifactError: the file was cut short meanwhile, or cannot be read.
            ResourceError: there is not enough memory.
        """
        memory = SealedBuffer(self.nbytes)
        memory.view[: len(self._header)] = self._header
        self._read_into(memory.view[len(self._header) :], len(self._header))
        memory.seal()
        return LoadedTensors(memory, self.entries, self.metadata)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _read_header(self) -> bytes:
        if self.nbytes < _LENGTH_BYTES:
            raise ArtifactError(f"is truncated: only {self.nbytes} bytes", where=self._where)
        length = bytearray(_LENGTH_BYTES)
        self._read_into(memoryview(length), 0)
        header_bytes = int.from_bytes(length, "little")
        if header_bytes > MAX_HEADER_BYTES:
            raise ArtifactError(
                f"header of {header_bytes} bytes is larger than {MAX_HEADER_BYTES}",
                where=self._where,
            )
        if _LENGTH_BYTES + header_bytes > self.nbytes:
            raise ArtifactError("is truncated inside its header", where=self._where)
        header = bytearray(header_bytes)
        self._read_into(memoryview(header), _LENGTH_BYTES)
        return bytes(length + header)

    def _read_into(self, memory: memoryview, offset: int) -> None:
        """Fill ``memory`` with the bytes from ``offset`` on."""
        while memory:
            try:
                count = os.preadv(self._file.fileno(), [memory[:_LARGEST_READ]], offset)
            except OSError as error:
                raise ArtifactError(
                    f"cannot be read ({error.strerror})", where=self._where
                ) from error
            if not count:
                raise ArtifactError("was cut short while it was read", where=self._where)
            memory, offset = memory[count:], offset + count


def read_tensors(path: Path, *, sha256: str | None = None) -> LoadedTensors:
    """Read a safetensors file once, into sealed memory, and check all of its structure.

    Args:
        path: The file.
        sha256: The digest that it must have, which is worked out from the memory returned.

    Raises:
        ArtifactError: it is missing, truncated or malformed, or has another digest.
    """
    with open_regular(path, ArtifactError) as opened:
        file = TensorFile(os.dup(opened.fileno()), where=path)
    try:
        loaded = file.load()
    finally:
        file.close()
    if sha256 is not None and hashlib.sha256(loaded.contents).hexdigest() != sha256:
        raise ArtifactError("does not match its digest", where=path)
    return loaded


def _parsed(
    contents: bytes, file_bytes: int, where: object
) -> tuple[dict[str, str], dict[str, TensorEntry]]:
    """Return the metadata and the tensors of a header, which starts with its length."""
    header = parse_object(contents[_LENGTH_BYTES:], where=where)
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise ArtifactError("__metadata__ does not map texts to texts", where=where)
    ordered = _checked_header(header, file_bytes - len(contents), where)
    entries = {
        name: TensorEntry(
            entry["dtype"],
            tuple(entry["shape"]),
            len(contents) + entry["data_offsets"][0],
            len(contents) + entry["data_offsets"][1],
        )
        for name, entry in ordered.items()
    }
    return metadata, entries


def _checked_header(header: dict[str, Any], data_bytes: int, where: object) -> dict[str, Any]:
    """Return the header ordered by offset once every entry is known to be sound."""
    for name, entry in header.items():
        _check_entry(name, entry, where)
    ordered = dict(sorted(header.items(), key=lambda item: item[1]["data_offsets"]))
    end = 0
    for name, entry in ordered.items():
        if entry["data_offsets"][0] != end:
            raise ArtifactError(
                f"tensor {name[:200]!r} leaves a hole or overlaps another", where=where
            )
        end = entry["data_offsets"][1]
    if end > data_bytes:
        raise ArtifactError(
            f"is truncated: {data_bytes} bytes of data where the header says {end}", where=where
        )
    if end < data_bytes:
        raise ArtifactError(f"has {data_bytes - end} bytes that belong to no tensor", where=where)
    return ordered


def _check_entry(name: str, entry: object, where: object) -> None:
    """Refuse an entry whose types, sizes or byte count are wrong."""

    def wrong(what: str) -> ArtifactError:
        return ArtifactError(f"tensor {name[:200]!r} {what}", where=where)

    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise wrong("must have dtype, shape and data_offsets, and nothing else")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise wrong(f"has unknown dtype {str(dtype)[:20]!r}")
    if not _are_sizes(shape) or len(shape) > _MAX_DIMENSIONS:
        raise wrong(f"must have a shape of at most {_MAX_DIMENSIONS} whole numbers")
    if not _are_sizes(offsets) or len(offsets) != 2:
        raise wrong("must have two whole numbers as data_offsets")
    width = DTYPES[dtype].itemsize
    count, extent = 1, width
    for size in shape:
        count *= size
        extent *= max(size, 1)
    # An extent past 2^63 would overflow in NumPy even where a zero makes the tensor empty.
    if extent > sys.maxsize or offsets[1] - offsets[0] != count * width:
        raise wrong(f"of dtype {dtype} and shape {shape} does not fill its bytes exactly")


def _are_sizes(value: object) -> bool:
    """Tell whether this is a list of whole numbers from 0 up; true and false are not numbers."""
    return isinstance(value, list) and all(type(item) is int and item >= 0 for item in value)
