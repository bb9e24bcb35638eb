"""The tensors of an ingot by name: as float32, or as the codes that it stores."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ingot.artifact.ingot import Ingot
from ingot.artifact.quantization.bfloat16 import widen_to_float32
from ingot.artifact.quantization.packing import QuantizedMatrix, WeightFormat, unpack_codes
from ingot.artifact.quantization.quantize import fused_matrices

Array = NDArray[np.float32]


class TensorSource:
    """Tensors of an open ingot, one at a time, by the names of ``config.tensor_shapes()``.

    Args:
        ingot: The ingot; it must stay open.
    """

    def __init__(self, ingot: Ingot) -> None:
        self._ingot = ingot
        self._shapes = ingot.config.tensor_shapes()
        self._packed = ingot.packed_shapes
        self._stored_in: dict[str, tuple[str, int]] = {}
        for matrix, parts in fused_matrices(ingot.config).items() if self._packed else ():
            first = 0
            for part in parts:
                self._stored_in[part] = matrix, first
                first += self._shapes[part][0]
        self._last: tuple[str, QuantizedMatrix] | None = None

    def shape(self, name: str) -> tuple[int, ...]:
        """Return a tensor's shape."""
        return self._shapes[name]

    def stored_kind(self, name: str) -> WeightFormat | None:
        """Return what a matrix of a quantized ingot is stored as, None if it is not a matrix."""
        if name not in self._stored_in:
            return None
        return self._packed[self._stored_in[name][0]].kind

    def codes(self, name: str) -> QuantizedMatrix | None:
        """Return the codes and scales of a matrix, or None if the ingot does not quantize it.

        A matrix that a quantized ingot keeps in bfloat16 has those bits as codes.
        """
        if name not in self._stored_in:
            return None
        whole, first = self._stored_in[name]
        matrix = self._unpacked(whole)
        rows = slice(first, first + self._shapes[name][0])
        scales = matrix.scales if matrix.kind == "bf16" else matrix.scales[rows]
        return QuantizedMatrix(matrix.kind, matrix.group, matrix.codes[rows], scales)

    def float32(self, name: str) -> Array:
        """Return a tensor as float32: of a quantized one what its codes stand for."""
        if (codes := self.codes(name)) is not None:
            return codes.dequantized()
        tensor = self._ingot.tensors[name]
        values = tensor.array()
        return widen_to_float32(values) if tensor.dtype == "BF16" else values

    def _unpacked(self, name: str) -> QuantizedMatrix:
        """Return a whole matrix; the last one is kept, because its parts are asked for in turn."""
        if self._last is None or self._last[0] != name:
            tensors = self._ingot.tensors
            scales = tensors.get(f"{name}.scales")
            unpacked = unpack_codes(
                self._packed[name],
                tensors[f"{name}.tiles"].array(),
                scales.array() if scales else np.empty((0, 0, 0), "<f4"),
            )
            self._last = name, unpacked
        return self._last[1]
