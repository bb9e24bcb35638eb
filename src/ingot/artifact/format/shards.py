"""Weights in one safetensors file or in shards, and the small files beside them."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from ingot.artifact.format.manifest import INDEX, WEIGHTS, FileRecord
from ingot.artifact.format.tensor_reader import DTYPES
from ingot.artifact.format.tensor_writer import RawTensor, write_tensors

SHARD_BYTES = 4_000_000_000
"""Largest file of weights, unless one tensor alone is larger."""


def write_weights(
    stored: Mapping[str, RawTensor],
    folder: Path,
    shard_bytes: int = SHARD_BYTES,
    *,
    written: Callable[[int], object] | None = None,
) -> tuple[dict[str, FileRecord], dict[str, str]]:
    """Write the tensors in one file or in shards, as Hugging Face names them.

    Args:
        stored: The tensors, in order.
        folder: A new folder.
        shard_bytes: Largest file.
        written: Called after each piece with its bytes.

    Returns:
        The record of each file, and the SHA-256 of each tensor.
    """
    sizes = {name: tensor_bytes(raw) for name, raw in stored.items()}
    groups = _plan_shards(sizes, shard_bytes)
    files: dict[str, FileRecord] = {}
    digests: dict[str, str] = {}
    weight_map: dict[str, str] = {}
    for number, names in enumerate(groups, start=1):
        file = WEIGHTS
        if len(groups) > 1:
            file = f"model-{number:05d}-of-{len(groups):05d}.safetensors"
        done = write_tensors(
            folder / file,
            {name: stored[name] for name in names},
            {"format": "pt"},  # transformers 4 refuses files without it
            pause=written,
        )
        files[file] = FileRecord(bytes=done.file_bytes, sha256=done.file_sha256)
        digests |= done.tensor_sha256
        weight_map |= dict.fromkeys(names, file)
    if len(groups) > 1:
        index = {"metadata": {"total_size": sum(sizes.values())}, "weight_map": weight_map}
        files[INDEX] = write_small(folder / INDEX, json_bytes(index))
    return files, digests


def tensor_bytes(raw: RawTensor) -> int:
    """Return the bytes of a tensor's data."""
    return DTYPES[raw.dtype].itemsize * math.prod(raw.shape)


def _plan_shards(sizes: Mapping[str, int], limit: int) -> list[list[str]]:
    """Split tensors, in order, into groups of at most ``limit`` bytes or one tensor each."""
    groups: list[list[str]] = [[]]
    filled = 0
    for name, size in sizes.items():
        if groups[-1] and filled + size > limit:
            groups.append([])
            filled = 0
        groups[-1].append(name)
        filled += size
    return groups


def write_small(path: Path, data: bytes) -> FileRecord:
    """Write one small new file and return its record."""
    write_new(path, data)
    return FileRecord(bytes=len(data), sha256=hashlib.sha256(data).hexdigest())


def write_new(path: Path, data: bytes) -> None:
    """Write a new file durably."""
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def json_bytes(value: Mapping[str, object]) -> bytes:
    """Return readable JSON that is the same for the same value."""
    return json.dumps(value, indent=2).encode() + b"\n"
