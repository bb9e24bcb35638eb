"""Q4_K: super-blocks of 256 values with scales of scales, as llama.cpp's reference rounds them.

Each of the eight sub-blocks of 32 values has a scale and a minimum of six bits; the super-block
has a float16 scale for each of both. A value is ``d * scale * code - dmin * minimum``.
Source: ``quantize_row_q4_K_ref`` and ``make_qkx2_quants`` in llama.cpp's ``ggml-quants.c``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float32]
Bytes = NDArray[np.uint8]

_LARGEST, _STEPS, _STEP, _FIRST = 15, 20, 0.1, -1.0


def q4_k_blocks(blocks: Rows) -> Bytes:
    """Return the bytes (N, 144) of super-blocks (N, 256)."""
    parts = blocks.reshape(-1, 32)
    scales, minima = (each.reshape(-1, 8) for each in _best_scales(parts))
    d, small_scales = _six_bits(scales)
    dmin, small_minima = _six_bits(minima)
    step = (d[:, None] * small_scales).reshape(-1, 1)
    offset = (dmin[:, None] * small_minima).reshape(-1, 1)
    exact = np.divide(parts + offset, step, out=np.zeros_like(parts), where=step != 0)
    codes = np.rint(exact).clip(0, _LARGEST).astype(np.uint8).reshape(-1, 4, 2, 32)
    low, high = codes[:, :, 0], codes[:, :, 1]
    return np.concatenate(
        [
            d.astype("<f2")[:, None].view(np.uint8),
            dmin.astype("<f2")[:, None].view(np.uint8),
            _pack_six_bits(small_scales.astype(np.uint8), small_minima.astype(np.uint8)),
            (low | high << 4).reshape(-1, 128),
        ],
        axis=1,
    )


def _six_bits(values: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the float16 scale of each super-block, and the eight values in units of it."""
    largest = values.max(axis=1)
    inverse = np.divide(
        np.float32(63), largest, out=np.zeros_like(largest), where=largest > 0, dtype=np.float32
    )
    codes = np.minimum(np.rint(values * inverse[:, None]), np.float32(63))
    half = (largest / np.float32(63)).astype(np.float16).astype(np.float32)
    return half, codes


def _pack_six_bits(scales: Bytes, minima: Bytes) -> Bytes:
    """Pack eight scales and eight minima (N, 8) of six bits each into twelve bytes."""
    first = scales[:, :4] | (scales[:, 4:] >> 4) << 6
    second = minima[:, :4] | (minima[:, 4:] >> 4) << 6
    third = (scales[:, 4:] & 15) | (minima[:, 4:] & 15) << 4
    return np.concatenate([first, second, third], axis=1)


def _best_scales(parts: Rows) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return a scale and a minimum for each sub-block (N, 32): least weighted squared error.

    The weight of a value is its size and the root of the mean square. 21 roundings are tried;
    after each, scale and minimum are fitted to the codes by least squares. The next rounding
    begins at the best minimum so far.
    """
    weights = np.sqrt(np.square(parts).mean(axis=1))[:, None] + np.abs(parts)
    low = np.minimum(parts.min(axis=1), np.float32(0))
    high = parts.max(axis=1)
    span = high - low
    flat = span <= 0  # all values alike
    safe = np.where(flat, np.float32(1), span)
    scale = np.where(flat, np.float32(0), safe / np.float32(_LARGEST))
    minimum = low.copy()
    sum_w, sum_x = weights.sum(axis=1), (weights * parts).sum(axis=1)
    first = _codes(parts, low, (_LARGEST / safe).astype(np.float32))
    error = _error(parts, weights, first, scale, minimum)
    for step in range(_STEPS + 1):
        span = np.where(high > minimum, high - minimum, np.float32(1))
        inverse = (np.float32(_FIRST + _STEP * step + _LARGEST) / span).astype(np.float32)
        codes = _codes(parts, minimum, inverse)
        weighted = weights * codes
        sum_l, sum_l2 = weighted.sum(axis=1), (weighted * codes).sum(axis=1)
        sum_xl = (weighted * parts).sum(axis=1)
        determinant = sum_w * sum_l2 - sum_l * sum_l
        usable = (determinant > 0) & ~flat
        divisor = np.where(usable, determinant, np.float32(1))
        fitted = (sum_w * sum_xl - sum_x * sum_l) / divisor
        offset = (sum_l2 * sum_x - sum_l * sum_xl) / divisor
        positive = offset > 0  # a minimum is never above zero
        alone = np.divide(sum_xl, sum_l2, out=np.zeros_like(sum_xl), where=sum_l2 > 0)
        fitted = np.where(positive, alone, fitted)
        offset = np.where(positive, np.float32(0), offset)
        found = _error(parts, weights, codes, fitted, offset)
        better = usable & (found < error)
        scale, minimum = np.where(better, fitted, scale), np.where(better, offset, minimum)
        error = np.where(better, found, error)
    return scale.astype(np.float32), (-minimum).astype(np.float32)


def _codes(parts: Rows, low: NDArray[np.float32], inverse: NDArray[np.float32]) -> Rows:
    """Return the nearest codes, from 0 to 15, as float32."""
    return np.rint(inverse[:, None] * (parts - low[:, None])).clip(0, _LARGEST)


def _error(
    parts: Rows,
    weights: Rows,
    codes: Rows,
    scale: NDArray[np.float32],
    minimum: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Return the weighted squared error of each sub-block."""
    error: NDArray[np.float32] = (
        weights * np.square(scale[:, None] * codes + minimum[:, None] - parts)
    ).sum(axis=1)
    return error
