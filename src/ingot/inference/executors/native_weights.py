"""An ingot's weights as the native core takes them, in memory that cannot be written."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingot.artifact import (
    TILE,
    Ingot,
    LoadedWeights,
    PackedShape,
    QuantizedMatrix,
    Scheme,
    SealedBuffer,
    StoredTensor,
    WeightFormat,
    fused_matrices,
    pack,
    round_to_bfloat16,
    round_to_nearest,
    unpack,
    widen_to_float32,
)
from ingot.errors import ArtifactError, UsageError
from ingot.inference.config import Weights
from ingot.native import Matrix
from ingot.process import usable_cores

_LINE = 64
_VALUES = 1 << 20  # packed at a time: what is converted stays in a core's cache

_Stored = tuple[PackedShape, NDArray[np.uint8], NDArray[np.float32]]
_Fill = Callable[[NDArray[np.uint8]], None]


class NativeWeights:
    """Hands out an ingot's weights by name and keeps what it handed out.

    All of them lie in sealed memory, in large pages where the system has them: from pages of 4 kB
    a model of 600M parameters answered one sequence at 41 tokens/s, from large ones at 53 (Zen 4,
    int8). A quantized ingot's are used where they were read and hashed. Another's are packed
    from there, and freed there one after the other.

    Args:
        ingot: The model; may be closed afterwards.
        kind: "stored" takes matrices as the ingot has them, float32 rounded to bfloat16; another
            kind rounds them while loading, which a quantized ingot refuses.

    Raises:
        UsageError: the ingot is quantized and ``kind`` is not "stored".
        ArtifactError: a weight fails its digest, is not finite, or too large for bfloat16.
    """

    def __init__(self, ingot: Ingot, kind: Weights) -> None:
        self._quantized = bool(ingot.packed_shapes)
        if self._quantized and kind != "stored":
            raise UsageError(
                "the ingot is quantized already", where=f"weights {kind!r}", fix="use 'stored'"
            )
        self._fused = fused_matrices(ingot.config)
        shapes = ingot.config.tensor_shapes()
        self._outputs = {name: shape[0] for name, shape in shapes.items()}
        wanted: WeightFormat = "bf16" if kind == "stored" else kind
        self._exact = self._quantized or (wanted == "bf16" and ingot.manifest.dtype == "bfloat16")
        self._matrices: dict[str, _Stored]
        self._vectors: dict[str, NDArray[np.float32]]
        vectors = [name for name, shape in shapes.items() if len(shape) == 1]
        loaded = ingot.load()
        if self._quantized:
            self._matrices, self._vectors = _in_place(loaded, ingot.packed_shapes, vectors)
        else:
            group = 0 if wanted == "bf16" else Scheme(wanted).group_of(wanted)
            packed = {
                name: PackedShape(
                    wanted, group, sum(self._outputs[part] for part in parts), shapes[parts[0]][1]
                )
                for name, parts in self._fused.items()
            }
            self._matrices, self._vectors = _packed(loaded, packed, self._fused, vectors)

    def matrix(self, name: str) -> Matrix:
        """Return a matrix by its name in ``fused_matrices``."""
        shape, tiles, scales = self._matrices[name]
        return Matrix(
            weight_format=shape.kind,
            outputs=shape.outputs,
            inputs=shape.inputs,
            group=shape.group,
            tiles=tiles,
            scales=scales,
        )

    def vector(self, name: str) -> NDArray[np.float32]:
        """Return a norm's weights or a bias as float32."""
        return self._vectors[name]

    def close(self) -> None:
        """Forget what was handed out; its memory is freed when the last other user ends."""
        self._matrices = {}
        self._vectors = {}

    def digests(self) -> dict[str, str]:
        """Return the SHA-256 of each of the ingot's tensors, worked out from what was handed out.

        Empty where matrices were rounded at loading.
        """
        if not self._exact:
            return {}
        found: dict[str, str] = {}
        for name, (shape, tiles, scales) in list(self._matrices.items()):
            if self._quantized:
                found[f"{name}.tiles"] = _sha256(tiles)
                if scales.size:
                    found[f"{name}.scales"] = _sha256(scales)
                continue
            words = tiles.view(np.uint16).reshape(shape.tiles)
            bits = round_to_bfloat16(unpack(shape, words, scales))
            ends = np.cumsum([self._outputs[part] for part in self._fused[name]])
            for part, rows in zip(self._fused[name], np.split(bits, ends[:-1]), strict=True):
                found[part] = _sha256(rows)
        for name, values in list(self._vectors.items()):
            found[name] = _sha256(values if self._quantized else round_to_bfloat16(values))
        return found


def _in_place(
    loaded: LoadedWeights, shapes: dict[str, PackedShape], vectors: Sequence[str]
) -> tuple[dict[str, _Stored], dict[str, NDArray[np.float32]]]:
    """Return a quantized ingot's weights where they lie; those that are not aligned are copied."""
    names = [
        name
        for matrix, shape in shapes.items()
        for name in (
            [f"{matrix}.tiles", f"{matrix}.scales"] if shape.group else [f"{matrix}.tiles"]
        )
    ]
    found = {name: np.frombuffer(loaded[name].data, dtype=np.uint8) for name in (*names, *vectors)}
    found |= _sealed(
        {
            name: (values.size, _copy_of(values))
            for name, values in found.items()
            if values.ctypes.data % _LINE  # Ingot's own writer aligns all but some norms
        }
    )
    none = np.empty(0, dtype=np.float32)
    matrices = {
        name: (
            shape,
            found[f"{name}.tiles"],
            found[f"{name}.scales"].view(np.float32) if shape.group else none,
        )
        for name, shape in shapes.items()
    }
    return matrices, {name: found[name].view(np.float32) for name in vectors}


def _packed(
    loaded: LoadedWeights,
    shapes: dict[str, PackedShape],
    fused: dict[str, tuple[str, ...]],
    vectors: Sequence[str],
) -> tuple[dict[str, _Stored], dict[str, NDArray[np.float32]]]:
    """Return weights packed into one stretch of sealed memory; ``loaded`` is used up."""

    def matrix(name: str) -> _Fill:
        def fill(memory: NDArray[np.uint8]) -> None:
            _pack_rows(shapes[name], [loaded[part] for part in fused[name]], *_split(memory, name))
            for part in fused[name]:
                loaded.discard(part)

        return fill

    def vector(name: str) -> _Fill:
        def fill(memory: NDArray[np.uint8]) -> None:
            memory.view(np.float32)[:] = _float32(loaded[name])

        return fill

    def _split(
        memory: NDArray[np.uint8], name: str
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        end = shapes[name].tile_bytes
        return memory[:end], memory[end:].view(np.float32)

    wanted = {
        name: (shape.tile_bytes + 4 * shape.scale_count, matrix(name))
        for name, shape in shapes.items()
    }
    wanted |= {name: (4 * loaded[name].shape[0], vector(name)) for name in vectors}
    found = _sealed(wanted)
    matrices = {name: (shape, *_split(found[name], name)) for name, shape in shapes.items()}
    return matrices, {name: found[name].view(np.float32) for name in vectors}


def _sealed(wanted: dict[str, tuple[int, _Fill]]) -> dict[str, NDArray[np.uint8]]:
    """Return memory of these sizes in bytes, aligned to a line of the cache, filled and sealed."""
    places: dict[str, slice] = {}
    end = 0
    for name, (nbytes, _) in wanted.items():
        places[name] = slice(end, end + nbytes)
        end = -(-(end + nbytes) // _LINE) * _LINE
    buffer = SealedBuffer(end)
    memory = np.frombuffer(buffer.view, dtype=np.uint8)
    with ThreadPoolExecutor(usable_cores()) as pool:
        work = [pool.submit(fill, memory[places[name]]) for name, (_, fill) in wanted.items()]
        for each in work:
            each.result()
    buffer.seal()
    memory = np.frombuffer(buffer.readonly, dtype=np.uint8)
    return {name: memory[place] for name, place in places.items()}


def _copy_of(values: NDArray[np.uint8]) -> _Fill:
    def fill(memory: NDArray[np.uint8]) -> None:
        memory[:] = values

    return fill


def _pack_rows(
    shape: PackedShape,
    parts: Sequence[StoredTensor],
    tiles: NDArray[np.uint8],
    scales: NDArray[np.float32],
) -> None:
    """Pack tensors, one below the other, as one matrix, some tiles at a time."""
    at_once = max(1, _VALUES // shape.inputs // TILE) * TILE
    tile_bytes = shape.tile_bytes // shape.tiles[0]
    tile_scales = shape.scale_count // shape.tiles[0]
    for start in range(0, shape.outputs, at_once):
        bits = _rows(parts, start, start + at_once)
        matrix = (
            QuantizedMatrix("bf16", 0, bits, np.empty((0, 0), dtype=np.float32))
            if shape.kind == "bf16"
            else round_to_nearest(widen_to_float32(bits), shape.kind, shape.group)
        )
        first, count = start // TILE, -(-len(bits) // TILE)
        pack(
            matrix,
            tiles[first * tile_bytes : (first + count) * tile_bytes],
            scales[first * tile_scales : (first + count) * tile_scales],
        )


def _rows(parts: Sequence[StoredTensor], start: int, stop: int) -> NDArray[np.uint16]:
    """Return rows of tensors that lie one below the other, as bfloat16 bits."""
    found = []
    for part in parts:
        rows = part.array()[max(start, 0) : max(stop, 0)]
        start, stop = start - part.shape[0], stop - part.shape[0]
        if len(rows):
            found.append(rows if part.dtype == "BF16" else _rounded(rows, part.name))
    return np.ascontiguousarray(np.concatenate(found))


def _rounded(values: NDArray[np.float32], name: str) -> NDArray[np.uint16]:
    bits = round_to_bfloat16(values)
    if ((bits & 0x7F80) == 0x7F80).any():
        raise ArtifactError(
            "has values too large for bfloat16", where=name, fix="use the torch executor"
        )
    return bits


def _float32(tensor: StoredTensor) -> NDArray[np.float32]:
    values = tensor.array()
    return widen_to_float32(values) if tensor.dtype == "BF16" else values


def _sha256(values: NDArray[Any]) -> str:
    return hashlib.sha256(np.ascontiguousarray(values).view(np.uint8).data).hexdigest()
