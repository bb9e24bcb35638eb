"""A streaming writer of safetensors files: atomic, aligned, digested on the way."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ingot.artifact.format.tensor_reader import DTYPES, MAX_HEADER_BYTES
from ingot.errors import ArtifactError
from ingot.files import replacing

Buffer: TypeAlias = bytes | bytearray | memoryview | NDArray[Any]

ALIGNMENT = 64
"""The data starts at a multiple of this many bytes: a cache line, and AVX-512's width."""

_NAMES = {dtype: name for name, dtype in DTYPES.items() if name != "BF16"}


class RawTensor(NamedTuple):
    """A tensor given as bytes; for dtypes NumPy lacks and for data made while it is written."""

    dtype: str
    """A key of ``DTYPES``."""
    shape: Sequence[int]
    data: Buffer | Iterator[Buffer]
    """All bytes, little-endian and row-major, at once or in pieces."""


class WrittenTensors(NamedTuple):
    """Digests of what was written, in hexadecimal."""

    file_bytes: int
    file_sha256: str
    tensor_sha256: dict[str, str]
    """SHA-256 of each tensor's bytes, by name, where that was asked for."""


def write_tensors(
    path: Path,
    tensors: Mapping[str, NDArray[Any] | RawTensor],
    metadata: Mapping[str, str] | None = None,
    *,
    digest_each: bool = True,
    pause: Callable[[int], object] | None = None,
) -> WrittenTensors:
    """Replace ``path`` by a safetensors file, durably; a crash leaves the old one or the new one.

    The same tensors and metadata give the same bytes.

    Args:
        path: The file; its folder must exist.
        tensors: Arrays of any dtype in ``DTYPES``, or raw bytes, by name.
        metadata: Texts to store beside them.
        digest_each: Also digest every tensor by itself, which takes half of the processor's time.
        pause: Called after each piece with its bytes, for a writer that is in no hurry.

    Raises:
        ArtifactError: a dtype the format lacks, or bytes that do not fill a shape.
        ResourceError: the disk is full; the old file is untouched.
    """
    with replacing(path) as file:
        return stream_tensors(
            file, tensors, metadata or {}, where=path, digest_each=digest_each, pause=pause
        )


def stream_tensors(
    file: BinaryIO,
    tensors: Mapping[str, NDArray[Any] | RawTensor],
    metadata: Mapping[str, str],
    *,
    where: object,
    digest_each: bool = True,
    pause: Callable[[int], object] | None = None,
) -> WrittenTensors:
    """Write a safetensors file to an open binary file, digesting as it goes."""
    raw = {name: _as_raw(name, tensor, where) for name, tensor in tensors.items()}
    # Widest items first, as the format's own library does: each tensor is then
    # aligned to its item size although the format allows no padding.
    names = sorted(raw, key=lambda name: -DTYPES[raw[name].dtype].itemsize)
    whole = hashlib.sha256()
    total = 0

    def write(piece: bytes | memoryview) -> None:
        nonlocal total
        whole.update(piece)
        file.write(piece)
        total += len(piece)

    write(_header({name: raw[name] for name in names}, metadata, where))
    digests = {}
    for name in names:
        digest = hashlib.sha256()
        left = _nbytes(raw[name])
        for piece in _pieces(raw[name].data):
            left -= len(piece)
            if digest_each:
                digest.update(piece)
            write(piece)
            if pause:
                pause(len(piece))
        if left:
            raise ArtifactError(
                f"tensor {name!r} was given {abs(left)} bytes too "
                f"{'few' if left > 0 else 'many'} for its shape",
                where=where,
            )
        digests[name] = digest.hexdigest()
    each = {name: digests[name] for name in tensors} if digest_each else {}
    return WrittenTensors(total, whole.hexdigest(), each)


def _as_raw(name: str, tensor: NDArray[Any] | RawTensor, where: object) -> RawTensor:
    """Describe a tensor by dtype, shape and bytes, refusing what the format cannot hold."""
    if name == "__metadata__":
        raise ArtifactError("no tensor may be named '__metadata__'", where=where)
    if isinstance(tensor, np.ndarray):
        if tensor.dtype not in _NAMES:
            raise ArtifactError(f"tensor {name!r} has dtype {tensor.dtype}", where=where)
        return RawTensor(_NAMES[tensor.dtype], tensor.shape, np.ascontiguousarray(tensor))
    raw = RawTensor(*tensor)
    if raw.dtype not in DTYPES:
        raise ArtifactError(f"tensor {name!r} has unknown dtype {raw.dtype!r}", where=where)
    return raw


def _nbytes(tensor: RawTensor) -> int:
    """Return the bytes that the tensor's shape needs."""
    return math.prod(tensor.shape) * DTYPES[tensor.dtype].itemsize


def _pieces(data: Buffer | Iterator[Buffer]) -> Iterator[memoryview]:
    """Yield flat byte views of data that comes at once or in pieces."""
    for piece in data if isinstance(data, Iterator) else (data,):
        if isinstance(piece, np.ndarray):
            yield np.ascontiguousarray(piece).reshape(-1).view(np.uint8).data
        else:
            yield np.frombuffer(piece, dtype=np.uint8).data


def _header(tensors: dict[str, RawTensor], metadata: Mapping[str, str], where: object) -> bytes:
    """Return length and JSON header, padded with spaces so that the data is aligned."""
    header: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))} if metadata else {}
    end = 0
    for name, tensor in tensors.items():
        begin, end = end, end + _nbytes(tensor)
        header[name] = {
            "dtype": tensor.dtype,
            "shape": [int(size) for size in tensor.shape],
            "data_offsets": [begin, end],
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % ALIGNMENT)
    if len(text) > MAX_HEADER_BYTES:
        raise ArtifactError("has too many tensors for one file", where=where)
    return len(text).to_bytes(8, "little") + text
