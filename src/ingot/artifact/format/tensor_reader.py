"""A strict reader of safetensors files, mapped into memory that cannot be written.

Format (huggingface.co/docs/safetensors): eight bytes of little-endian header
length, a JSON header ``{name: {dtype, shape, data_offsets}}`` and the data,
without holes or overlaps. Everything in a file is taken as hostile until checked.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import stat
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ingot.artifact.format.strict_json import parse_object
from ingot.errors import ArtifactError

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


@dataclass(frozen=True)
class StoredTensor:
    """One tensor inside a mapped file. Using it keeps the mapping alive."""

    name: str
    dtype: str
    """Name of the dtype in the format, such as "BF16"; a key of ``DTYPES``."""
    shape: tuple[int, ...]
    data: memoryview
    """The bytes, little-endian and row-major; read-only."""

    def array(self) -> NDArray[Any]:
        """Return a read-only array over the same memory; BF16 comes as its ``uint16`` bits."""
        return np.ndarray(self.shape, dtype=DTYPES[self.dtype], buffer=self.data)


class TensorFile(Mapping[str, StoredTensor]):
    """The tensors of one safetensors file by name, in the order of their bytes.

    The file is mapped ``PROT_READ``: a write through any pointer into it is a
    segmentation fault. Another process that is allowed to write the file can
    still change it; frozen files are mode 0444 for that reason.
    """

    def __init__(self, mapping: mmap.mmap, header_bytes: int, header: dict[str, Any]) -> None:
        self._mapping = mapping
        self.contents = memoryview(mapping)
        """Every byte of the file."""
        self.metadata: dict[str, str] = header.pop("__metadata__", {})
        """The texts that the writer put beside the tensors."""
        start = _LENGTH_BYTES + header_bytes
        self._tensors = {
            name: StoredTensor(
                name,
                entry["dtype"],
                tuple(entry["shape"]),
                self.contents[start + entry["data_offsets"][0] : start + entry["data_offsets"][1]],
            )
            for name, entry in header.items()
        }

    def __getitem__(self, name: str) -> StoredTensor:
        return self._tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def close(self) -> None:
        """Let go of the mapping; it goes when no array uses it any more."""
        self._tensors = {}
        self.contents = memoryview(b"")

    def release_pages(self) -> None:
        """Take the file's pages out of this process's memory; reading brings them back."""
        with contextlib.suppress(OSError):
            self._mapping.madvise(mmap.MADV_DONTNEED)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_tensors(path: Path) -> TensorFile:
    """Map a safetensors file and check all of its structure.

    Raises:
        ArtifactError: it is missing, truncated or malformed.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise ArtifactError(f"cannot be opened ({error.strerror})", where=path) from error
    try:
        return map_tensors(handle, where=path)
    finally:
        os.close(handle)


def map_tensors(handle: int, *, where: object) -> TensorFile:
    """Map an open safetensors file; ``where`` names it in errors. The handle stays open.

    Raises:
        ArtifactError: it is truncated or malformed.
    """
    status = os.fstat(handle)
    if not stat.S_ISREG(status.st_mode):
        raise ArtifactError("is not a regular file", where=where)
    size = status.st_size
    if size < _LENGTH_BYTES:
        raise ArtifactError(f"is truncated: only {size} bytes", where=where)
    try:
        mapping = mmap.mmap(handle, size, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ)
    except (OSError, ValueError) as error:
        raise ArtifactError(f"cannot be mapped ({error})", where=where) from error
    header_bytes = int.from_bytes(mapping[:_LENGTH_BYTES], "little")
    if header_bytes > MAX_HEADER_BYTES:
        raise ArtifactError(
            f"header of {header_bytes} bytes is larger than {MAX_HEADER_BYTES}", where=where
        )
    data_start = _LENGTH_BYTES + header_bytes
    if data_start > size:
        raise ArtifactError("is truncated inside its header", where=where)
    header = parse_object(mapping[_LENGTH_BYTES:data_start], where=where)
    header = _checked_header(header, size - data_start, where)
    return TensorFile(mapping, header_bytes, header)


def _checked_header(header: dict[str, Any], data_bytes: int, where: object) -> dict[str, Any]:
    """Return the header ordered by offset once every entry is known to be sound."""
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise ArtifactError("__metadata__ does not map texts to texts", where=where)
    for name, entry in header.items():
        _check_entry(name, entry, where)
    ordered = dict(sorted(header.items(), key=lambda item: item[1]["data_offsets"]))
    end = 0
    for name, entry in ordered.items():
        if entry["data_offsets"][0] != end:
            raise ArtifactError(f"tensor {name!r} leaves a hole or overlaps another", where=where)
        end = entry["data_offsets"][1]
    if end > data_bytes:
        raise ArtifactError(
            f"is truncated: {data_bytes} bytes of data where the header says {end}", where=where
        )
    if end < data_bytes:
        raise ArtifactError(f"has {data_bytes - end} bytes that belong to no tensor", where=where)
    return {"__metadata__": metadata, **ordered}


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
    """Tell whether this is a list of whole numbers from 0 up; true and false are no numbers."""
    return isinstance(value, list) and all(type(item) is int and item >= 0 for item in value)
