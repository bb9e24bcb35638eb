"""A safetensors checkpoint as Hugging Face lays it out, in one file or in shards."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ingot.artifact.format.manifest import INDEX, MAX_BYTES, WEIGHTS
from ingot.artifact.format.tensor_reader import TensorEntry, TensorFile
from ingot.artifact.import_.source_folder import SourceFolder
from ingot.artifact.quantization.bfloat16 import widen_to_float32
from ingot.errors import ArtifactError
from ingot.strict_json import parse_object

_SHARD_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,120}\.safetensors")
_MOST_TENSORS = 100_000
_AGAIN = "fetch the model again"


class Checkpoint:
    """The tensors of a folder by name, still on disk.

    Args:
        folder: The folder, which must stay open meanwhile.

    Raises:
        ArtifactError: there are no safetensors, or a file is malformed, or the index does not
            list exactly what the shards hold.
    """

    def __init__(self, folder: SourceFolder) -> None:
        self.where = folder.path
        self._files: dict[str, TensorFile] = {}
        self._holder: dict[str, TensorFile] = {}
        try:
            self._open(folder)
        except BaseException:
            self.close()
            raise

    def entry(self, name: str) -> TensorEntry:
        """Return dtype and shape of a tensor."""
        return self._holder[name].entries[name]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every tensor."""
        return {name: file.entries[name].shape for name, file in self._holder.items()}

    def array(self, name: str, rows: tuple[int, int] | None = None) -> NDArray[Any]:
        """Return a copy of a tensor as it is stored, or of some rows; BF16 as its bits.

        Raises:
            ArtifactError: the file was cut short meanwhile, or cannot be read.
        """
        return self._holder[name].read(name, rows)

    def float32(self, name: str, rows: tuple[int, int] | None = None) -> NDArray[np.float32]:
        """Return a tensor of weights, or some rows of it, as float32.

        Raises:
            ArtifactError: its dtype is not BF16, F16 or F32; otherwise as ``array``.
        """
        dtype = self._holder[name].entries[name].dtype
        if dtype not in ("BF16", "F16", "F32"):
            raise ArtifactError(
                f"tensor {name[:200]!r} is {dtype}, not BF16, F16 or F32", where=self.where
            )
        values = self.array(name, rows)
        if dtype == "BF16":
            return widen_to_float32(values)
        exact: NDArray[np.float32] = values.astype(np.float32, copy=False)
        return exact

    def close(self) -> None:
        """Close the files."""
        for file in self._files.values():
            file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self, folder: SourceFolder) -> None:
        if INDEX in folder.names:
            weight_map = _weight_map(folder)
            for name in sorted(set(weight_map.values())):
                self._add(folder, name)
            self._check_index(weight_map, folder.path / INDEX)
        elif WEIGHTS in folder.names:
            self._add(folder, WEIGHTS)
        else:
            raise _no_weights(folder)
        if len(self._holder) > _MOST_TENSORS:
            raise ArtifactError(f"holds more than {_MOST_TENSORS:,} tensors", where=self.where)

    def _add(self, folder: SourceFolder, name: str) -> None:
        file = TensorFile(os.dup(folder.handle(name)), where=folder.path / name)
        self._files[name] = file
        for tensor in file.entries:
            if tensor in self._holder:
                raise ArtifactError(
                    f"has tensor {tensor[:200]!r}, which another shard has too",
                    where=folder.path / name,
                )
            self._holder[tensor] = file

    def _check_index(self, weight_map: dict[str, str], where: Path) -> None:
        for tensor, name in weight_map.items():
            if tensor not in self._files[name].entries:
                raise ArtifactError(
                    f"tensor {tensor[:200]!r} is not in {name}", where=where, fix=_AGAIN
                )
        for tensor in sorted(self._holder.keys() - weight_map.keys()):
            raise ArtifactError(f"does not list tensor {tensor[:200]!r}", where=where, fix=_AGAIN)


def _weight_map(folder: SourceFolder) -> dict[str, str]:
    """Return which file holds each tensor, as the index says."""
    where = folder.path / INDEX
    index = parse_object(folder.read(INDEX, max_bytes=MAX_BYTES[INDEX]), where=where)
    for key in sorted(index.keys() - {"metadata", "weight_map"}):
        raise ArtifactError(f"key {key[:80]!r} is not understood", where=where)
    weight_map = index.get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise ArtifactError("weight_map does not map tensors to files", where=where, fix=_AGAIN)
    for name in weight_map.values():
        if not isinstance(name, str) or not _SHARD_NAME.fullmatch(name):
            raise ArtifactError(
                f"weight_map names {str(name)[:80]!r}, which is not the name of a shard",
                where=where,
            )
    return weight_map


def _no_weights(folder: SourceFolder) -> ArtifactError:
    """Return the error of a folder without safetensors, by what it holds instead."""
    names = sorted(folder.names)
    for name in names:
        if name.endswith((".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack")):
            return ArtifactError(
                "is not safetensors; such files can run code when they are opened, so Ingot does "
                "not read them",
                where=folder.path / name,
                fix="save the model with save_pretrained(..., safe_serialization=True)",
            )
        if name.endswith(".gguf"):
            return ArtifactError(
                "holds a .gguf, not safetensors", where=folder.path, fix=f"name the file: {name}"
            )
    return ArtifactError(
        f"holds neither {WEIGHTS} nor {INDEX}",
        where=folder.path,
        fix="name a folder made by save_pretrained",
    )
