"""An ingot's weights as the native core takes them, in memory that cannot be written."""

from __future__ import annotations

import hashlib
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ingot.artifact import (
    Ingot,
    Kind,
    PackedShape,
    SealedBuffer,
    fused_matrices,
    round_to_bfloat16,
    unpack,
    widen_to_float32,
)
from ingot.errors import UsageError
from ingot.native import Matrix, pack, packed_sizes

WeightKind = Literal["stored", "bf16", "int8", "int4"]
GROUP = 128
"""Inputs that share a scale where weights are rounded at loading."""


class NativeWeights:
    """Hands out an ingot's weights by name and keeps what it handed out.

    The matrices of a quantized ingot are the file's own mapping; those of another are packed
    once, into sealed memory.

    Args:
        ingot: The model; may be closed afterwards.
        kind: "stored" takes matrices as the ingot has them, float32 rounded to bfloat16; another
            kind rounds them while loading, which a quantized ingot refuses.

    Raises:
        UsageError: the ingot is quantized and ``kind`` is not "stored".
    """

    def __init__(self, ingot: Ingot, kind: WeightKind) -> None:
        self._shapes = ingot.packed_shapes
        if self._shapes and kind != "stored":
            raise UsageError(
                "the ingot is quantized already", where=f"weights {kind!r}", fix="use 'stored'"
            )
        self._tensors = ingot.tensors
        self._fused = fused_matrices(ingot.config)
        self._outputs = {
            name: shape[0] for name, shape in ingot.config.tensor_shapes().items() if len(shape) > 1
        }
        self._kind: Kind = "bf16" if kind == "stored" else kind
        self._exact = bool(self._shapes) or (
            self._kind == "bf16" and ingot.manifest.dtype == "bfloat16"
        )
        self._matrices: dict[str, tuple[PackedShape, NDArray[np.uint8], NDArray[np.float32]]] = {}
        self._gains: dict[str, NDArray[np.float32]] = {}

    def matrix(self, name: str) -> Matrix:
        """Return a matrix by its name in ``fused_matrices``."""
        if name not in self._matrices:
            self._matrices[name] = self._mapped(name) if self._shapes else self._packed(name)
        shape, tiles, scales = self._matrices[name]
        return Matrix(shape.kind, shape.outputs, shape.inputs, shape.group, tiles, scales)

    def gains(self, name: str) -> NDArray[np.float32]:
        """Return a norm's gains as float32."""
        values = self._tensors[name].array()
        if self._tensors[name].dtype == "BF16":
            values = widen_to_float32(values)
        self._gains[name] = np.ascontiguousarray(values, dtype=np.float32)
        return self._gains[name]

    def let_go(self) -> None:
        """Forget the ingot's tensors, once all that is needed was handed out."""
        self._tensors = {}

    def digests(self) -> dict[str, str]:
        """Return the SHA-256 of each of the ingot's tensors, worked out from what was handed out.

        Empty where matrices were rounded at loading.
        """
        if not self._exact:
            return {}
        found: dict[str, str] = {}
        for name, (shape, tiles, scales) in list(self._matrices.items()):
            if self._shapes:
                found[f"{name}.tiles"] = _sha256(tiles)
                if scales.size:
                    found[f"{name}.scales"] = _sha256(scales)
                continue
            words = tiles.view(np.uint16).reshape(shape.tiles)
            bits = round_to_bfloat16(unpack(shape, words, scales))
            ends = np.cumsum([self._outputs[part] for part in self._fused[name]])
            for part, rows in zip(self._fused[name], np.split(bits, ends[:-1]), strict=True):
                found[part] = _sha256(rows)
        for name, values in list(self._gains.items()):
            found[name] = _sha256(values if self._shapes else round_to_bfloat16(values))
        return found

    def _mapped(self, name: str) -> tuple[PackedShape, NDArray[np.uint8], NDArray[np.float32]]:
        """Return a packed matrix where it lies in the file."""
        scales = self._tensors.get(f"{name}.scales")
        return (
            self._shapes[name],
            np.frombuffer(self._tensors[f"{name}.tiles"].data, dtype=np.uint8),
            np.frombuffer(scales.data if scales else b"", dtype=np.float32),
        )

    def _packed(self, name: str) -> tuple[PackedShape, NDArray[np.uint8], NDArray[np.float32]]:
        """Pack a matrix into sealed memory."""
        parts = [self._bits(part) for part in self._fused[name]]
        bits = parts[0] if len(parts) == 1 else np.concatenate(parts)
        outputs, inputs = bits.shape
        tile_bytes, count = packed_sizes(self._kind, outputs, inputs, GROUP)
        tiles, scales = SealedBuffer(tile_bytes), SealedBuffer(4 * count)
        pack(
            self._kind,
            bits,
            GROUP,
            np.frombuffer(tiles.view, dtype=np.uint8),
            np.frombuffer(scales.view, dtype=np.float32),
        )
        tiles.seal()
        scales.seal()
        return (
            PackedShape(self._kind, 0 if self._kind == "bf16" else GROUP, outputs, inputs),
            np.frombuffer(tiles.readonly, dtype=np.uint8),
            np.frombuffer(scales.readonly, dtype=np.float32),
        )

    def _bits(self, name: str) -> NDArray[np.uint16]:
        """Return a matrix as bfloat16 bits."""
        values = self._tensors[name].array()
        bits = values if self._tensors[name].dtype == "BF16" else round_to_bfloat16(values)
        return np.ascontiguousarray(bits, dtype=np.uint16)


def _sha256(values: NDArray[Any]) -> str:
    return hashlib.sha256(np.ascontiguousarray(values).view(np.uint8).data).hexdigest()
