"""An ingot's weights as float32, one tensor at a time and not all in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingot.artifact.ingot import Ingot
from ingot.artifact.quantization.bfloat16 import widen_to_float32
from ingot.artifact.quantization.packing import unpack
from ingot.artifact.quantization.quantize import fused_matrices
from ingot.errors import ArtifactError

Progress = Callable[[int, int], None]
"""Receives how many bytes were read, and how many there are."""


class WeightReader(Mapping[str, NDArray[np.float32]]):
    """Every tensor of ``config.tensor_shapes()`` by name, read and checked when it is asked for.

    Of a quantized ingot: what its codes stand for, which is what the core multiplies with. The
    parts of a fused matrix are best asked for in turn: only the last matrix is kept.

    Args:
        ingot: An open ingot.
        progress: Called after each read.
    """

    def __init__(self, ingot: Ingot, progress: Progress | None = None) -> None:
        self._ingot = ingot
        self._progress = progress
        self._read = 0
        self._shapes = ingot.config.tensor_shapes()
        self._rows: dict[str, tuple[str, slice]] = {}
        fused = fused_matrices(ingot.config)
        for matrix in ingot.packed_shapes:
            first = 0
            for part in fused[matrix]:
                outputs = self._shapes[part][0]
                self._rows[part] = (matrix, slice(first, first + outputs))
                first += outputs
        self._last: tuple[str, NDArray[np.float32]] = ("", np.empty(0, np.float32))

    def __getitem__(self, name: str) -> NDArray[np.float32]:
        """Return a tensor.

        Raises:
            ArtifactError: it does not match its digest, or holds a value that is not finite.
        """
        if name in self._rows:
            matrix, rows = self._rows[name]
            if self._last[0] != matrix:
                self._last = (matrix, self._unpacked(matrix))
            values = self._last[1][rows]
        else:
            stored = self._stored(name)
            bits = self._ingot.manifest.tensors[name].dtype == "BF16"
            values = widen_to_float32(stored) if bits else stored
        if not np.isfinite(values).all():
            raise ArtifactError(
                f"tensor {name!r} holds values that are not finite",
                where=self._ingot.path,
                fix="make the ingot again from an earlier checkpoint",
            )
        return values

    def __iter__(self) -> Iterator[str]:
        return iter(self._shapes)

    def __len__(self) -> int:
        return len(self._shapes)

    def stored_as(self, name: str) -> str:
        """Return the number format of a tensor, such as ``BF16`` or ``int4 (32)``."""
        if name not in self._rows:
            return self._ingot.manifest.tensors[name].dtype
        return format_of(self._ingot, self._rows[name][0])

    def records(self, name: str) -> tuple[str, ...]:
        """Return the digests of the stored tensors that a tensor is read from."""
        tensors = self._ingot.manifest.tensors
        if name not in self._rows:
            return (tensors[name].sha256,)
        matrix = self._rows[name][0]
        names = (f"{matrix}.tiles", f"{matrix}.scales")
        return tuple(tensors[each].sha256 for each in names if each in tensors)

    def _unpacked(self, matrix: str) -> NDArray[np.float32]:
        tiles, scales = f"{matrix}.tiles", f"{matrix}.scales"
        shape = self._ingot.packed_shapes[matrix]
        has_scales = scales in self._ingot.manifest.tensors
        empty = np.empty((0, 0, 0), np.float32)
        return unpack(shape, self._stored(tiles), self._stored(scales) if has_scales else empty)

    def _stored(self, name: str) -> NDArray[Any]:
        array = self._ingot.read(name)
        self._read += array.nbytes
        if self._progress is not None:
            self._progress(self._read, self._ingot.weight_bytes)
        return array


def format_of(ingot: Ingot, matrix: str) -> str:
    """Return the number format of a packed matrix, such as ``int8 (128)``: inputs per scale."""
    shape = ingot.packed_shapes[matrix]
    return f"{shape.kind} ({shape.group})" if shape.group else shape.kind
