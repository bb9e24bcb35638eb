"""Number formats of GGUF: float32 rows to the bytes of llama.cpp's blocks.

A row is cut into blocks of 32 values, or of 256 for Q4_K, each stored with scales of its own.
The layouts are those of ``ggml-common.h``, the rounding that of llama.cpp's reference quantizers
(``quantize_row_*_ref`` in ``ggml-quants.c``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ingot.artifact.export.gguf.k_quants import q4_k_blocks
from ingot.artifact.quantization.bfloat16 import round_to_bfloat16
from ingot.artifact.quantization.packing import QuantizedMatrix

BlockName = Literal["F32", "F16", "BF16", "Q8_0", "Q5_0", "Q4_0", "Q4_K"]
Rows = NDArray[np.float32]
Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class BlockFormat:
    """One number format."""

    number: int
    """``enum ggml_type``."""
    values: int
    """Values of a block."""
    bytes: int
    """Bytes of a block."""
    encode: Callable[[Rows], NDArray[Any]]
    """Blocks (N, values) to their bytes."""


def _half(values: NDArray[np.floating]) -> Bytes:
    """Return the two bytes of each value as float16, on a new last axis."""
    return np.ascontiguousarray(values, dtype="<f2")[..., None].view(np.uint8)


def _round(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Round to the nearest whole number, halves away from zero, as C's ``roundf``."""
    whole: NDArray[np.float32] = np.trunc(values + np.copysign(np.float32(0.5), values))
    return whole


def _inverse(scales: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return 1 / scale, and 0 where that is 0 or overflows."""
    with np.errstate(divide="ignore", over="ignore"):
        inverse = np.float32(1) / scales
    return np.where(np.isfinite(inverse), inverse, np.float32(0))


def _q8_0(blocks: Rows) -> Bytes:
    """A scale, and 32 codes of a byte."""
    scales = np.abs(blocks).max(axis=1) / np.float32(127)
    codes = _round(blocks * _inverse(scales)[:, None]).astype(np.int8)
    return np.concatenate([_half(scales), codes.view(np.uint8)], axis=1)


def _signed_largest(blocks: Rows) -> NDArray[np.float32]:
    """Return the value of largest size of each block, with its sign."""
    return np.take_along_axis(blocks, np.abs(blocks).argmax(axis=1)[:, None], axis=1)[:, 0]


def _q4_0(blocks: Rows) -> Bytes:
    """A scale, and 32 codes of four bits: of the first half in the low bits."""
    scales = _signed_largest(blocks) / np.float32(-8)
    exact = blocks * _inverse(scales)[:, None] + np.float32(8.5)
    return q4_0_bytes(np.trunc(exact).clip(0, 15).astype(np.uint8), scales)


def q4_0_bytes(codes: Bytes, scales: NDArray[np.float32]) -> Bytes:
    """Return the blocks of codes (N, 32) from 0 to 15, which mean (code - 8) * scale."""
    return np.concatenate([_half(scales), codes[:, :16] | codes[:, 16:] << 4], axis=1)


def _q5_0(blocks: Rows) -> Bytes:
    """A scale, the fifth bits of all 32 codes, and their low four bits as in Q4_0."""
    scales = _signed_largest(blocks) / np.float32(-16)
    exact = blocks * _inverse(scales)[:, None] + np.float32(16.5)
    codes = np.trunc(exact).clip(0, 31).astype(np.uint8)
    high = np.packbits(codes >> 4, axis=1, bitorder="little")
    low = codes & 15
    return np.concatenate([_half(scales), high, low[:, :16] | low[:, 16:] << 4], axis=1)


def _f32(blocks: Rows) -> NDArray[Any]:
    return np.ascontiguousarray(blocks, dtype="<f4")


def _f16(blocks: Rows) -> NDArray[Any]:
    with np.errstate(over="ignore"):
        return blocks.astype("<f2")


FORMATS: dict[BlockName, BlockFormat] = {
    "F32": BlockFormat(0, 1, 4, _f32),
    "F16": BlockFormat(1, 1, 2, _f16),
    "BF16": BlockFormat(30, 1, 2, round_to_bfloat16),
    "Q8_0": BlockFormat(8, 32, 34, _q8_0),
    "Q5_0": BlockFormat(6, 32, 22, _q5_0),
    "Q4_0": BlockFormat(2, 32, 18, _q4_0),
    "Q4_K": BlockFormat(12, 256, 144, q4_k_blocks),
}


def row_bytes(name: BlockName, width: int) -> int:
    """Return the bytes of a row of ``width`` values."""
    form = FORMATS[name]
    return width // form.values * form.bytes


def encode(name: BlockName, rows: Rows) -> NDArray[Any]:
    """Return the bytes of rows (N, width), whose width is a multiple of the block's values."""
    form = FORMATS[name]
    return form.encode(np.ascontiguousarray(rows, dtype=np.float32).reshape(-1, form.values))


def pass_through(matrix: QuantizedMatrix) -> Bytes:
    """Return an int4 matrix as Q4_0 with the very codes that it has.

    Its scales become float16, which changes none that an ingot of this version holds.
    """
    outputs, inputs = matrix.codes.shape
    codes = (matrix.codes.view(np.uint8) + np.uint8(8)).reshape(-1, 32)
    blocks = np.arange(inputs // 32) * 32 // matrix.group
    return q4_0_bytes(codes, matrix.scales[:, blocks].reshape(outputs * (inputs // 32)))
