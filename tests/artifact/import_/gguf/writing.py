"""GGUF files put together field by field, so that any of them can be wrong."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

ALIGNMENT = 32
_KINDS = {bool: (7, "<?"), int: (4, "<I"), float: (6, "<f")}
_SIGNED = (5, "<i")  # of lists of integers, as kinds of tokens are


@dataclass(frozen=True)
class Described:
    """One tensor as the header describes it, with its data."""

    name: str
    dimensions: tuple[int, ...]
    """Innermost first, as in the file."""
    kind: int
    data: bytes
    offset: int | None = None
    """Where the header says that the data is; None says the truth."""


def text(value: str | bytes) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(data)) + data


def value(content: Any) -> bytes:
    """Return a value of metadata with its type; a list of plain values is an array."""
    if isinstance(content, bytes):  # written as it is
        return content
    if isinstance(content, str):
        return struct.pack("<I", 8) + text(content)
    if isinstance(content, list):
        if isinstance(content[0], str):
            kind, packed = 8, b"".join(map(text, content))
        else:
            kind, form = _SIGNED if type(content[0]) is int else _KINDS[type(content[0])]
            packed = b"".join(struct.pack(form, each) for each in content)
        return struct.pack("<IIQ", 9, kind, len(content)) + packed
    kind, form = _KINDS[type(content)]
    return struct.pack("<I", kind) + struct.pack(form, content)


def gguf_bytes(
    keys: Mapping[str, Any] | Sequence[tuple[str, Any]],
    tensors: Sequence[Described] = (),
    *,
    version: int = 3,
    counts: tuple[int, int] | None = None,
    alignment: int = ALIGNMENT,
) -> bytes:
    """Return a file of these keys and tensors; ``counts`` replaces the true numbers of them."""
    pairs = list(keys.items()) if isinstance(keys, Mapping) else list(keys)
    header = b"GGUF" + struct.pack("<I", version)
    header += struct.pack("<QQ", *(counts or (len(tensors), len(pairs))))
    header += b"".join(text(key) + value(content) for key, content in pairs)
    data = b""
    for tensor in tensors:
        offset = len(data) if tensor.offset is None else tensor.offset
        header += text(tensor.name) + struct.pack("<I", len(tensor.dimensions))
        header += struct.pack(f"<{len(tensor.dimensions)}Q", *tensor.dimensions)
        header += struct.pack("<IQ", tensor.kind, offset)
        data += tensor.data + bytes(-len(tensor.data) % alignment)
    return header + bytes(-len(header) % alignment) * bool(tensors) + data
