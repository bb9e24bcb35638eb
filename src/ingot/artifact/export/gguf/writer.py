"""A writer of GGUF files, version 3 (``docs/gguf.md`` in github.com/ggml-org/ggml)."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ingot.artifact.export.gguf.blocks import FORMATS, BlockName, row_bytes

ALIGNMENT = 32
MetadataValue = str | bool | int | float | Sequence[str] | Sequence[int] | Sequence[float]
"""A whole number is written as uint32, those of a list as int32, other numbers as float32.

A list of truth values stays one."""

_UINT32, _INT32, _FLOAT32, _BOOL, _STRING, _ARRAY = 4, 5, 6, 7, 8, 9


@dataclass(frozen=True)
class GgufTensor:
    """A tensor to be written."""

    shape: tuple[int, ...]
    """Row-major, as NumPy has it; the file holds it reversed."""
    format: BlockName
    data: Callable[[], Iterator[NDArray[Any]]]
    """Returns its bytes in pieces, when it is its turn."""

    @property
    def nbytes(self) -> int:
        """Bytes of its data."""
        rows = int(np.prod(self.shape[:-1], dtype=np.int64))
        return rows * row_bytes(self.format, self.shape[-1])


def write_gguf(
    file: BinaryIO,
    metadata: Mapping[str, MetadataValue],
    tensors: Mapping[str, GgufTensor],
    written: Callable[[int], object],
) -> None:
    """Write a GGUF file to an open binary file.

    Args:
        file: Where to write; it need not be seekable.
        metadata: Keys and values, in order.
        tensors: The tensors by llama.cpp's names, in order.
        written: Called after each piece with its bytes.
    """
    head = bytearray(b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata)))
    for key, value in metadata.items():
        head += _string(key) + _value(value)
    offset = 0
    for name, tensor in tensors.items():
        head += _string(name) + struct.pack("<I", len(tensor.shape))
        head += struct.pack(f"<{len(tensor.shape)}Q", *reversed(tensor.shape))
        head += struct.pack("<IQ", FORMATS[tensor.format].number, offset)
        offset += tensor.nbytes + -tensor.nbytes % ALIGNMENT
    head += bytes(-len(head) % ALIGNMENT)
    file.write(head)
    for tensor in tensors.values():
        for piece in tensor.data():
            data = np.ascontiguousarray(piece).reshape(-1).view(np.uint8)
            file.write(data.data)
            written(len(data))
        file.write(bytes(-tensor.nbytes % ALIGNMENT))


def _string(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _value(value: MetadataValue) -> bytes:
    """Return the type and the bytes of a value."""
    if isinstance(value, bool):
        return struct.pack("<I?", _BOOL, value)
    if isinstance(value, int):
        return struct.pack("<II", _UINT32, value)
    if isinstance(value, float):
        return struct.pack("<If", _FLOAT32, value)
    if isinstance(value, str):
        return struct.pack("<I", _STRING) + _string(value)
    head = struct.pack("<I", _ARRAY)
    if all(isinstance(each, bool) for each in value):
        return head + struct.pack(f"<IQ{len(value)}?", _BOOL, len(value), *value)
    if all(isinstance(each, str) for each in value):
        texts = b"".join(_string(str(each)) for each in value)
        return head + struct.pack("<IQ", _STRING, len(value)) + texts
    kind, dtype = (_INT32, "<i4") if all(isinstance(e, int) for e in value) else (_FLOAT32, "<f4")
    return head + struct.pack("<IQ", kind, len(value)) + np.asarray(value, dtype=dtype).tobytes()
