"""The packed layout of weight matrices: what the C++ core multiplies with, straight from the file.

A matrix (outputs, inputs) is cut into tiles of 16 outputs; inputs are filled up with
zeros to a multiple of 32. A tile runs through all inputs, from the outside in:

- bf16: ``[inputs / 2][16 outputs][2 inputs]`` of bfloat16 bits
- int8: ``[inputs / 4][16 outputs][4 inputs]`` of code + 128, so that bytes are unsigned
- int4: ``[inputs / 8][16 outputs][4 inputs]`` of code + 8; inputs 0-3 of each eight in the
  low half of a byte, 4-7 in the high half

The quantized kinds have no zero point: a weight is its code times a float32 scale that
``group`` inputs of one output share, ``[tile][inputs / group][16 outputs]``. int8 codes lie
in [-127, 127]; int4 codes in [-8, 7], so a scale may be negative to use the -8. Sixteen
outputs by four bytes fill one AVX-512 register, two of AVX2 and four of NEON, and the
dot products of all three (VNNI, maddubs, sdot) take four inputs of an output together.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ingot.artifact.quantization.bfloat16 import round_to_bfloat16, widen_to_float32

WeightFormat = Literal["bf16", "int8", "int4"]
"""What a packed matrix stores: bfloat16 bits, or codes of 8 or 4 bits with scales."""
GROUPS = (32, 64, 128)
"""Inputs that may share a scale."""
LAYOUT: Literal["tiles16"] = "tiles16"
LAYOUT_VERSION: Literal[1] = 1

_TINY = 1e-30  # weights below it count as zero
_SHRINKS = np.linspace(1.05, 0.6, 19)  # of the largest weight, tried as the limit of a group
TILE = 16
"""Outputs of a tile."""
_DEPTH = 32
LARGEST_CODE = {"int8": 127, "int4": 7}


@dataclass(frozen=True)
class QuantizedMatrix:
    """A weight matrix as codes and scales, not yet packed."""

    kind: WeightFormat
    group: int
    """Inputs that share a scale; 0 for bf16."""
    codes: NDArray[Any]
    """(outputs, inputs): int8 codes, or bfloat16 bits as ``uint16``."""
    scales: NDArray[np.float32]
    """(outputs, groups); empty for bf16."""

    def dequantized(self) -> NDArray[np.float32]:
        """Return the weights (outputs, inputs) that the codes stand for."""
        if self.kind == "bf16":
            return widen_to_float32(self.codes)
        return _times_scales(self.codes, self.scales, self.group)


@dataclass(frozen=True)
class PackedShape:
    """What one packed matrix is stored as."""

    kind: WeightFormat
    group: int
    outputs: int
    inputs: int

    @property
    def tiles(self) -> tuple[int, ...]:
        """Shape of the tensor of tiles: ``U8``, or ``BF16`` for bf16."""
        per_word = {"bf16": 2, "int8": 4, "int4": 8}[self.kind]
        last = 2 if self.kind == "bf16" else 4
        return math.ceil(self.outputs / TILE), self.depth // per_word, TILE, last

    @property
    def tile_bytes(self) -> int:
        """Bytes of the tensor of tiles."""
        return math.prod(self.tiles) * (2 if self.kind == "bf16" else 1)

    @property
    def scale_count(self) -> int:
        """Number of scales."""
        return 0 if self.kind == "bf16" else math.prod(self.scales)

    @property
    def scales(self) -> tuple[int, ...]:
        """Shape of the ``F32`` tensor of scales; none is stored for bf16."""
        return math.ceil(self.outputs / TILE), math.ceil(self.depth / self.group), TILE

    @property
    def depth(self) -> int:
        """Inputs, padding included."""
        return math.ceil(self.inputs / _DEPTH) * _DEPTH


def groups_of(inputs: int, group: int) -> int:
    """Return how many groups of ``group`` inputs a row has, the last one perhaps shorter."""
    return math.ceil(inputs / group)


def round_to_nearest(
    weights: NDArray[np.float32], kind: WeightFormat, group: int
) -> QuantizedMatrix:
    """Quantize (outputs, inputs), each weight to the code nearest to it.

    int8: the largest weight of a group sets its scale. int4: the scale, of a few, whose
    squared error is least. A group of zeros, or of values too small to divide by, has the
    scale 0.
    """
    if kind == "bf16":
        return QuantizedMatrix(
            kind, 0, round_to_bfloat16(weights), np.empty((0, 0), dtype=np.float32)
        )
    grouped = _grouped(weights, group)
    flat = grouped.reshape(-1, group)
    scales = best_scales(flat, np.ones(group, dtype=np.float32), kind)
    codes = nearest_codes(flat, scales[:, None], kind).reshape(len(weights), -1)
    return QuantizedMatrix(
        kind, group, codes[:, : weights.shape[1]], scales.reshape(grouped.shape[:2])
    )


def nearest_codes(
    weights: NDArray[np.floating], scales: NDArray[np.float32], kind: WeightFormat
) -> NDArray[np.int8]:
    """Return the codes nearest to weights (...), given scales that broadcast to them."""
    usable = scales != 0
    exact = np.rint(weights / np.where(usable, scales, np.float32(1))) * usable
    lowest = -8 if kind == "int4" else -127
    codes: NDArray[np.int8] = exact.clip(lowest, LARGEST_CODE[kind]).astype(np.int8)
    return codes


def best_scales(
    part: NDArray[np.floating], importance: NDArray[np.floating], kind: WeightFormat
) -> NDArray[np.float32]:
    """Return a scale for each row of ``part`` (rows, group).

    int4 tries some limits below the largest weight, met by the code 7 or by -8, and takes
    the one of least squared error, each input weighed by its ``importance`` (group,). Its scales
    are float16 numbers, so that formats with scales of 16 bits hold the same weights.
    """
    highest = np.abs(part).max(axis=1)
    if kind == "int8":
        plain = highest / part.dtype.type(LARGEST_CODE[kind])
        return np.where(highest > _TINY, plain, 0).astype(np.float32)
    signed = np.take_along_axis(part, np.abs(part).argmax(axis=1)[:, None], axis=1)[:, 0]
    usable = highest > _TINY
    best = np.zeros(len(part), dtype=np.float32)
    least = np.full(len(part), np.inf)
    exact, rounded = np.empty_like(part), np.empty(part.shape, dtype=np.float32)
    for limit in (highest / 7, signed / -8):
        for shrink in _SHRINKS:
            scale = _as_half(np.where(usable, shrink * limit, 1).astype(np.float32))
            # As nearest_codes and dequantizing do, without new memory for each of the 38 scales.
            np.divide(part, scale[:, None], out=exact)
            np.rint(exact, out=exact)
            np.clip(exact, -8, LARGEST_CODE[kind], out=exact)
            np.multiply(exact, scale[:, None], out=rounded, casting="same_kind")
            np.subtract(part, rounded, out=exact)
            np.square(exact, out=exact)
            error = np.einsum("ij,j->i", exact, importance)
            better = usable & (error < least)
            best[better], least[better] = scale[better], error[better]
    return best


def _as_half(scales: NDArray[np.float32]) -> NDArray[np.float32]:
    """Round scales to float16, but for those that it holds with fewer bits than others."""
    size = np.abs(scales)
    normal = (size >= np.finfo(np.float16).tiny) & (size <= np.finfo(np.float16).max)
    half = np.where(normal, scales, 1).astype(np.float16)
    return np.where(normal, half.astype(np.float32), scales)


def pack(
    matrix: QuantizedMatrix,
    tiles: NDArray[Any] | None = None,
    scales: NDArray[np.float32] | None = None,
) -> tuple[NDArray[Any], NDArray[np.float32]]:
    """Return the tiles and the scales of a matrix, in the shapes of ``PackedShape``.

    Args:
        matrix: Codes and scales; a slice of rows of a larger matrix may be packed by itself if
            it begins at a multiple of 16.
        tiles: Where to put the tiles; new memory if None.
        scales: Where to put the scales, likewise.
    """
    shape = PackedShape(matrix.kind, matrix.group, *matrix.codes.shape)
    rows = shape.tiles[0] * TILE
    if tiles is None:
        tiles = np.empty(shape.tiles, dtype=np.uint16 if matrix.kind == "bf16" else np.uint8)
    words = _words(matrix, rows, shape.depth).reshape(shape.tiles[0], TILE, shape.tiles[1])
    # Every kind has 32-bit words of one output's inputs; a tile holds those of 16 side by side.
    tiles.reshape(-1).view(np.uint32).reshape(shape.tiles[:3])[:] = words.transpose(0, 2, 1)
    if matrix.kind == "bf16":
        return tiles, matrix.scales if scales is None else scales
    if scales is None:
        scales = np.empty(shape.scales, dtype=np.float32)
    by_output = np.zeros((rows, shape.scales[1]), dtype=np.float32)
    by_output[: shape.outputs] = matrix.scales
    tile_major = by_output.reshape(-1, TILE, shape.scales[1]).transpose(0, 2, 1)
    scales.reshape(shape.scales)[:] = tile_major
    return tiles, scales


def _words(matrix: QuantizedMatrix, rows: int, depth: int) -> NDArray[np.uint32]:
    """Return the codes as the tiles store them, (rows, words), filled up with codes of 0."""
    padded = np.zeros((rows, depth), dtype=matrix.codes.dtype)
    padded[: matrix.codes.shape[0], : matrix.codes.shape[1]] = matrix.codes
    if matrix.kind == "bf16":
        return padded.view(np.uint32)
    # Adding modulo 256 gives code + 128 and code + 8 as unsigned bytes.
    unsigned = padded.view(np.uint8) + np.uint8(LARGEST_CODE[matrix.kind] + 1)
    if matrix.kind == "int8":
        return unsigned.view(np.uint32)
    eights = unsigned.reshape(rows, depth // 8, 2, 4)
    return np.ascontiguousarray(eights[:, :, 0] | eights[:, :, 1] << 4).view(np.uint32)[..., 0]


def unpack(
    shape: PackedShape, tiles: NDArray[Any], scales: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return the weights (outputs, inputs) of packed tiles, exactly as the core sees them."""
    return unpack_codes(shape, tiles, scales).dequantized()


def unpack_codes(
    shape: PackedShape, tiles: NDArray[Any], scales: NDArray[np.float32]
) -> QuantizedMatrix:
    """Return the codes and scales of packed tiles: what ``pack`` was given."""
    if shape.kind == "int4":
        low, high = tiles & 15, tiles >> 4
        tiles = np.stack((low, high), axis=2)  # (tiles, eights, 2, 16, 4)
        flat = tiles.transpose(0, 3, 1, 2, 4)
    else:
        flat = tiles.transpose(0, 2, 1, 3)
    flat = flat.reshape(-1, shape.depth)[: shape.outputs, : shape.inputs]
    if shape.kind == "bf16":
        empty = np.empty((0, 0), dtype=np.float32)
        return QuantizedMatrix(shape.kind, 0, np.ascontiguousarray(flat), empty)
    # Subtracting modulo 256 gives the code as a signed byte.
    codes = (flat - np.uint8(LARGEST_CODE[shape.kind] + 1)).view(np.int8)
    by_output = scales.transpose(0, 2, 1).reshape(-1, shape.scales[1])[: shape.outputs]
    groups = groups_of(shape.inputs, shape.group)  # the tiles may be padded to one more
    return QuantizedMatrix(shape.kind, shape.group, codes, by_output[:, :groups])


def _grouped(weights: NDArray[np.float32], group: int) -> NDArray[np.float32]:
    """Return weights as (outputs, groups, group), filled up with zeros."""
    outputs, inputs = weights.shape
    groups = groups_of(inputs, group)
    padded = np.zeros((outputs, groups * group), dtype=np.float32)
    padded[:, :inputs] = weights
    return padded.reshape(outputs, groups, group)


def _times_scales(
    codes: NDArray[Any], scales: NDArray[np.float32], group: int
) -> NDArray[np.float32]:
    weights = codes.astype(np.float32)
    for index in range(scales.shape[1]):
        weights[:, index * group : (index + 1) * group] *= scales[:, index, None]
    return weights
