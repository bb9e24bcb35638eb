"""An ingot's weights as the native core takes them, in memory that cannot be written."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingot.artifact import (
    Ingot,
    PackedShape,
    SealedBuffer,
    WeightFormat,
    fused_matrices,
    round_to_bfloat16,
    unpack,
    widen_to_float32,
)
from ingot.errors import UsageError
from ingot.inference.config import Weights
from ingot.native import Matrix, pack, packed_sizes

GROUP = 128
"""Inputs that share a scale where weights are rounded at loading."""

_LINE = 64
_Stored = tuple[PackedShape, NDArray[np.uint8], NDArray[np.float32]]


class NativeWeights:
    """Hands out an ingot's weights by name and keeps what it handed out.

    All matrices lie in one stretch of sealed memory, in large pages where the system has them:
    a quantized ingot's are copied there, another's are packed. From pages of 4 kB a model of
    600M parameters answered one sequence at 41 tokens/s, from large ones at 53 (Zen 4, int8).

    Args:
        ingot: The model; may be closed afterwards.
        kind: "stored" takes matrices as the ingot has them, float32 rounded to bfloat16; another
            kind rounds them while loading, which a quantized ingot refuses.

    Raises:
        UsageError: the ingot is quantized and ``kind`` is not "stored".
    """

    def __init__(self, ingot: Ingot, kind: Weights) -> None:
        self._shapes = ingot.packed_shapes
        if self._shapes and kind != "stored":
            raise UsageError(
                "the ingot is quantized already", where=f"weights {kind!r}", fix="use 'stored'"
            )
        self._tensors = ingot.tensors
        self._fused = fused_matrices(ingot.config)
        shapes = ingot.config.tensor_shapes().items()
        self._outputs = {name: shape[0] for name, shape in shapes if len(shape) > 1}
        self._inputs = {name: shape[1] for name, shape in shapes if len(shape) > 1}
        self._kind: WeightFormat = "bf16" if kind == "stored" else kind
        self._exact = bool(self._shapes) or (
            self._kind == "bf16" and ingot.manifest.dtype == "bfloat16"
        )
        self._norms: dict[str, NDArray[np.float32]] = {}
        self._matrices = self._filled()

    def matrix(self, name: str) -> Matrix:
        """Return a matrix by its name in ``fused_matrices``."""
        shape, tiles, scales = self._matrices[name]
        return Matrix(shape.kind, shape.outputs, shape.inputs, shape.group, tiles, scales)

    def norm(self, name: str) -> NDArray[np.float32]:
        """Return a norm's weights as float32."""
        values = self._tensors[name].array()
        if self._tensors[name].dtype == "BF16":
            values = widen_to_float32(values)
        self._norms[name] = np.ascontiguousarray(values, dtype=np.float32)
        return self._norms[name]

    def release_tensors(self) -> None:
        """Forget the ingot's tensors, once all that is needed was handed out."""
        self._tensors = {}

    def close(self) -> None:
        """Forget what was handed out too; its memory is freed when the last other user ends."""
        self.release_tensors()
        self._matrices = {}
        self._norms = {}

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
        for name, values in list(self._norms.items()):
            found[name] = _sha256(values if self._shapes else round_to_bfloat16(values))
        return found

    def _filled(self) -> dict[str, _Stored]:
        """Return all matrices, in sealed memory."""
        layout: dict[str, tuple[PackedShape, slice, slice]] = {}
        end = 0
        for name in self._fused:
            shape = self._shapes[name] if self._shapes else self._shape(name)
            sizes = packed_sizes(shape.kind, shape.outputs, shape.inputs, shape.group or GROUP)
            tiles = slice(end, end + sizes[0])
            scales = slice(_aligned(tiles.stop), _aligned(tiles.stop) + 4 * sizes[1])
            layout[name] = (shape, tiles, scales)
            end = _aligned(scales.stop)
        buffer = SealedBuffer(end)
        for name, (shape, tiles, scales) in layout.items():
            memory = np.frombuffer(buffer.view, dtype=np.uint8)
            self._fill(name, shape, memory[tiles], memory[scales].view(np.float32))
        buffer.seal()
        memory = np.frombuffer(buffer.readonly, dtype=np.uint8)
        return {
            name: (shape, memory[tiles], memory[scales].view(np.float32))
            for name, (shape, tiles, scales) in layout.items()
        }

    def _fill(
        self, name: str, shape: PackedShape, tiles: NDArray[np.uint8], scales: NDArray[np.float32]
    ) -> None:
        """Copy or pack one matrix to where it is to lie."""
        if self._shapes:
            tiles[:] = np.frombuffer(self._tensors[f"{name}.tiles"].data, dtype=np.uint8)
            if stored := self._tensors.get(f"{name}.scales"):
                scales[:] = np.frombuffer(stored.data, dtype=np.float32)
            return
        parts = [self._bits(part) for part in self._fused[name]]
        bits = parts[0] if len(parts) == 1 else np.concatenate(parts)
        pack(shape.kind, bits, GROUP, tiles, scales)

    def _shape(self, name: str) -> PackedShape:
        """Return what a matrix is to be packed as."""
        outputs = sum(self._outputs[part] for part in self._fused[name])
        inputs = self._inputs[self._fused[name][0]]
        return PackedShape(self._kind, 0 if self._kind == "bf16" else GROUP, outputs, inputs)

    def _bits(self, name: str) -> NDArray[np.uint16]:
        """Return a matrix as bfloat16 bits."""
        values = self._tensors[name].array()
        bits = values if self._tensors[name].dtype == "BF16" else round_to_bfloat16(values)
        return np.ascontiguousarray(bits, dtype=np.uint16)


def _aligned(offset: int) -> int:
    """Return the next offset at which a line of the cache begins."""
    return -(-offset // _LINE) * _LINE


def _sha256(values: NDArray[Any]) -> str:
    return hashlib.sha256(np.ascontiguousarray(values).view(np.uint8).data).hexdigest()
