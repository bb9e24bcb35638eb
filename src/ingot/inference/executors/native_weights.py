"""An ingot's tensors, packed for the native core into memory that cannot be written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ingot.artifact import SealedBuffer, StoredTensor, round_to_bfloat16, widen_to_float32
from ingot.native import Matrix, pack, packed_size

WeightKind = Literal["bf16", "int8", "int4"]
GROUP = 128
"""Inputs that share a scale."""


class PackedWeights:
    """Packs tensors by their names; a matrix asked for twice is packed twice.

    Args:
        tensors: An ingot's, BF16 or F32.
        kind: What matrices are stored as; norms stay float32.
    """

    def __init__(self, tensors: Mapping[str, StoredTensor], kind: WeightKind) -> None:
        self._tensors = tensors
        self._kind = kind

    def matrix(self, *names: str) -> Matrix:
        """Pack the named matrices (outputs, inputs) as one, their outputs one after another."""
        parts = [self._bits(name) for name in names]
        bits = parts[0] if len(parts) == 1 else np.concatenate(parts)
        outputs, inputs = bits.shape
        buffer = SealedBuffer(packed_size(self._kind, outputs, inputs, GROUP))
        pack(self._kind, bits, GROUP, np.frombuffer(buffer.view, dtype=np.uint8))
        buffer.seal()
        memory = np.frombuffer(buffer.readonly, dtype=np.uint8)
        return Matrix(self._kind, outputs, inputs, GROUP, memory)

    def gains(self, name: str) -> NDArray[np.float32]:
        """Return a norm's gains as float32."""
        values = self._tensors[name].array()
        if self._tensors[name].dtype == "BF16":
            return widen_to_float32(values)
        return np.ascontiguousarray(values, dtype=np.float32)

    def _bits(self, name: str) -> NDArray[np.uint16]:
        """Return a matrix as bfloat16 bits."""
        values = self._tensors[name].array()
        bits = values if self._tensors[name].dtype == "BF16" else round_to_bfloat16(values)
        return np.ascontiguousarray(bits, dtype=np.uint16)
