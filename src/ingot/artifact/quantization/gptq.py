"""GPTQ: rounding a matrix so that its outputs, not its weights, stay close (arXiv:2210.17323)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ingot.artifact.quantization.packing import (
    QuantizedMatrix,
    WeightFormat,
    best_scales,
    groups_of,
    nearest_codes,
    round_to_nearest,
)

_DAMPING = 0.01  # share of the mean curvature added to all: what the paper uses


def gptq(
    weights: NDArray[np.float32], hessian: NDArray[np.float64], kind: WeightFormat, group: int
) -> QuantizedMatrix:
    """Quantize one matrix, each input's rounding error spread over the inputs after it.

    A group's scale is chosen when its turn comes, from the weights as they stand then, inputs
    weighed by how large they were. bf16 is plainly rounded.

    Args:
        weights: (outputs, inputs).
        hessian: (inputs, inputs): the sum of x xᵀ over inputs x that were seen.
        kind: What to store.
        group: Inputs that share a scale.
    """
    if kind == "bf16":
        return round_to_nearest(weights, kind, group)
    left, upper, curvature = _prepared(weights, hessian)
    outputs, inputs = weights.shape
    codes = np.zeros((outputs, inputs), dtype=np.int8)
    scales = np.zeros((outputs, groups_of(inputs, group)), dtype=np.float32)
    for index in range(scales.shape[1]):
        begin, end = index * group, min(inputs, (index + 1) * group)
        part = left[:, begin:end].copy()
        scales[:, index] = best_scales(part, curvature[begin:end], kind)
        errors = np.empty_like(part)
        for k in range(end - begin):
            column = nearest_codes(part[:, k], scales[:, index], kind)
            codes[:, begin + k] = column
            row = upper[begin + k, begin + k : end]
            errors[:, k] = (part[:, k] - column * scales[:, index]) / row[0]
            part[:, k:] -= np.outer(errors[:, k], row)
        left[:, end:] -= errors @ upper[begin:end, end:]
    return QuantizedMatrix(kind, group, codes, scales)


def _prepared(
    weights: NDArray[np.float32], hessian: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the weights to round, the Cholesky factor of the inverse, and the curvatures.

    An input that was never anything but zero does not matter; its weights become zero.
    """
    damped = hessian.copy()
    curvature = np.diag(damped).copy()
    dead = curvature <= 0
    left = weights.astype(np.float64)
    left[:, dead] = 0
    curvature[dead] = curvature.mean() or 1.0
    damped[np.diag_indices_from(damped)] = curvature + _DAMPING * curvature.mean()
    upper = np.linalg.cholesky(np.linalg.inv(damped)).T
    return left, np.ascontiguousarray(upper), curvature
