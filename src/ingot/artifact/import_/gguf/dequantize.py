"""Blocks of GGUF to float32, value for value as llama.cpp computes them.

Every product is exact in float32: the scales have 11 significant bits, the codes at most 8, the
scales within a K block 6 or 8. So only the one addition of a minimum rounds, and the order of the
products, or a fused multiply-add, changes nothing.

Layouts and formulas: ``dequantize_row_*`` of ggml (github.com/ggml-org/ggml, ``ggml-quants.c``).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ingot.artifact.import_.gguf.block_types import BlockType

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]

_PIECE = 1 << 20  # values at a time, so that what lies between needs little memory


def dequantize(data: memoryview, kind: BlockType) -> Floats:
    """Return the values of a whole number of blocks.

    Args:
        data: The blocks' bytes.
        kind: Their type.

    Returns:
        float32, one dimension; NaN and infinity are kept.
    """
    blocks = np.frombuffer(data, dtype=np.uint8).reshape(-1, kind.nbytes)
    values = np.empty((len(blocks), kind.values), dtype=np.float32)
    function = _FUNCTIONS[kind.name]
    step = max(1, _PIECE // kind.values)
    with np.errstate(all="ignore"):  # infinite scales: who uses the values refuses them
        for start in range(0, len(blocks), step):
            values[start : start + step] = function(blocks[start : start + step])
    return values.reshape(-1)


def _f32(blocks: Bytes) -> Floats:
    return blocks.view("<f4")


def _f16(blocks: Bytes) -> Floats:
    return blocks.view("<f2").astype(np.float32)


def _bf16(blocks: Bytes) -> Floats:
    return (blocks.view("<u2").astype(np.uint32) << 16).view(np.float32)


def _q4_0(blocks: Bytes) -> Floats:
    codes = _nibbles(blocks[:, 2:]).astype(np.int8) - np.int8(8)
    return _scale(blocks, 0) * codes.astype(np.float32)


def _q4_1(blocks: Bytes) -> Floats:
    return _scale(blocks, 0) * _nibbles(blocks[:, 4:]).astype(np.float32) + _scale(blocks, 2)


def _q5_0(blocks: Bytes) -> Floats:
    codes = (_nibbles(blocks[:, 6:]) | _fifth_bits(blocks[:, 2:6])).astype(np.int8) - np.int8(16)
    return _scale(blocks, 0) * codes.astype(np.float32)


def _q5_1(blocks: Bytes) -> Floats:
    codes = _nibbles(blocks[:, 8:]) | _fifth_bits(blocks[:, 4:8])
    return _scale(blocks, 0) * codes.astype(np.float32) + _scale(blocks, 2)


def _q8_0(blocks: Bytes) -> Floats:
    return _scale(blocks, 0) * blocks[:, 2:].view(np.int8).astype(np.float32)


def _q4_k(blocks: Bytes) -> Floats:
    scales, minima = _scales_and_minima(blocks)
    codes = _nibbles_of_32(blocks[:, 16:])
    return (scales * codes.astype(np.float32) - minima).reshape(len(blocks), -1)


def _q5_k(blocks: Bytes) -> Floats:
    scales, minima = _scales_and_minima(blocks)
    bit = np.arange(8, dtype=np.uint8)[:, None]
    high = (blocks[:, None, 16:48] >> bit) & np.uint8(1)  # bit k of a byte is of sub-block k
    codes = _nibbles_of_32(blocks[:, 48:]) | (high << np.uint8(4))
    return (scales * codes.astype(np.float32) - minima).reshape(len(blocks), -1)


def _q6_k(blocks: Bytes) -> Floats:
    count = len(blocks)
    low = blocks[:, :128].reshape(count, 2, 1, 64) >> np.array([[0], [4]], dtype=np.uint8)
    shifts = np.array([[0], [2], [4], [6]], dtype=np.uint8)
    high = (blocks[:, 128:192].reshape(count, 2, 1, 32) >> shifts) & np.uint8(3)
    codes = (low & np.uint8(15)).reshape(count, 2, 4, 32) | (high << np.uint8(4))
    signed = (codes.astype(np.int8) - np.int8(32)).reshape(count, 16, 16).astype(np.float32)
    scales = blocks[:, 192:208].view(np.int8).astype(np.float32) * _scale(blocks, 208)
    return (scales[:, :, None] * signed).reshape(count, -1)


_FUNCTIONS: dict[str, Callable[[Bytes], Floats]] = {
    "F32": _f32,
    "F16": _f16,
    "BF16": _bf16,
    "Q4_0": _q4_0,
    "Q4_1": _q4_1,
    "Q5_0": _q5_0,
    "Q5_1": _q5_1,
    "Q8_0": _q8_0,
    "Q4_K": _q4_k,
    "Q5_K": _q5_k,
    "Q6_K": _q6_k,
}


def _scale(blocks: Bytes, offset: int) -> Floats:
    """Return the float16 at a byte offset of each block, as (blocks, 1)."""
    pair = np.ascontiguousarray(blocks[:, offset : offset + 2])
    return pair.view("<f2").astype(np.float32)


def _nibbles(codes: Bytes) -> Bytes:
    """Return two values of each byte: all low halves of a block, then all high ones."""
    return np.concatenate([codes & np.uint8(15), codes >> np.uint8(4)], axis=1)


def _fifth_bits(packed: Bytes) -> Bytes:
    """Return a 16 where the bit of a value is set; 32 little-endian bits to a block."""
    return np.unpackbits(packed, axis=1, bitorder="little") << np.uint8(4)


def _nibbles_of_32(codes: Bytes) -> Bytes:
    """Return 8 sub-blocks of 32 values: 32 bytes hold one in their low, the next in their high."""
    groups = codes.reshape(len(codes), 4, 1, 32) >> np.array([[0], [4]], dtype=np.uint8)
    return (groups & np.uint8(15)).reshape(len(codes), 8, 32)


def _scales_and_minima(blocks: Bytes) -> tuple[Floats, Floats]:
    """Return scale and minimum of each sub-block of Q4_K or Q5_K, as (blocks, 8, 1) each.

    Twelve bytes hold 16 numbers of 6 bits: four bytes of scales, four of minima, four with the low
    bits of the other four scales and minima, whose high bits top the first eight bytes.
    """
    first, second, third = blocks[:, 4:8], blocks[:, 8:12], blocks[:, 12:16]
    six, four, top = np.uint8(63), np.uint8(15), np.uint8(48)
    scales = [first & six, (third & four) | ((first >> np.uint8(2)) & top)]
    minima = [second & six, (third >> np.uint8(4)) | ((second >> np.uint8(2)) & top)]
    return (
        (_scale(blocks, 0) * np.concatenate(scales, axis=1).astype(np.float32))[:, :, None],
        (_scale(blocks, 2) * np.concatenate(minima, axis=1).astype(np.float32))[:, :, None],
    )
