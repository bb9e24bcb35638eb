"""RMSNorm in one pass each way, with the rotation of queries and keys, on CPUs with kernels for it.

Each pass reads a row once from memory and rounds at most once, and the weight's gradient is added
up on the way; PyTorch takes several passes, and compiled ones add it up column by column.
Sources: RMSNorm, arXiv:1910.07467; rotary position embedding, arXiv:2104.09864.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ingot.training.native import in_use, kernels, numbers


def norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """Normalise the last dimension of x, float32 or bfloat16.

    The result is in the numbers of the kernels in use.
    """
    normed: Tensor = _norm(x, weight, None, None, eps, _kind(x))
    return normed


def norm_and_rotate(x: Tensor, weight: Tensor, eps: float, angles: tuple[Tensor, Tensor]) -> Tensor:
    """Normalise x (..., T, heads, K), then turn its pairs by cosines and sines (..., T, 1, K/2)."""
    rotated: Tensor = _norm(x, weight, *angles, eps, _kind(x))
    return rotated


def _kind(x: Tensor) -> torch.dtype:
    return in_use(x.device) or torch.bfloat16


@torch.library.custom_op("ingot::norm", mutates_args=(), device_types="cpu")
def _norm(
    x: Tensor,
    weight: Tensor,
    cosines: Tensor | None,
    sines: Tensor | None,
    eps: float,
    kind: torch.dtype,
) -> Tensor:
    out: Tensor = _like_norm(x, weight, cosines, sines, eps, kind)
    kernels().norm(
        _rows(x),
        _norm_weight(weight),
        eps,
        *_angles(cosines, sines),
        _heads(x, cosines),
        _rows(out),
    )
    return out


@_norm.register_fake
def _like_norm(
    x: Tensor,
    _weight: Tensor,
    _cosines: Tensor | None,
    _sines: Tensor | None,
    _eps: float,
    kind: torch.dtype,
) -> Tensor:
    return x.new_empty(x.shape, dtype=kind)


@torch.library.custom_op("ingot::norm_backward", mutates_args=(), device_types="cpu")
def _norm_backward(
    x: Tensor,
    weight: Tensor,
    cosines: Tensor | None,
    sines: Tensor | None,
    eps: float,
    grad_out: Tensor,
) -> tuple[Tensor, Tensor]:
    """Return the gradients by x and by the weight."""
    grad_x, grad_weight = _like_norm_backward(x, weight, cosines, sines, eps, grad_out)
    kernels().norm_back(
        _rows(x),
        _norm_weight(weight),
        eps,
        *_angles(cosines, sines),
        _heads(x, cosines),
        _rows(grad_out),
        _rows(grad_x),
        grad_weight.numpy(),
    )
    return grad_x, grad_weight


@_norm_backward.register_fake
def _like_norm_backward(
    x: Tensor,
    weight: Tensor,
    _cosines: Tensor | None,
    _sines: Tensor | None,
    _eps: float,
    _by_out: Tensor,
) -> tuple[Tensor, Tensor]:
    return x.new_empty(x.shape), weight.new_empty(weight.shape)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG001
    ctx.save_for_backward(*inputs[:4])
    ctx.eps = inputs[4]


def _backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor | None, ...]:
    grad_x, grad_weight = _norm_backward(*ctx.saved_tensors, ctx.eps, grad_out)
    return grad_x, grad_weight, None, None, None, None


_norm.register_autograd(_backward, setup_context=_keep)


def _rows(x: Tensor) -> NDArray[np.float32] | NDArray[np.uint16]:
    return numbers(x.contiguous().view(-1, x.shape[-1]))


def _norm_weight(weight: Tensor) -> NDArray[np.float32]:
    # Copied: FSDP2 frees a gathered weight's memory, which it cannot once NumPy has seen it.
    return weight.detach().clone().numpy()


def _heads(x: Tensor, cosines: Tensor | None) -> int:
    """Return how many rows of x share their angles."""
    return 1 if cosines is None else x.shape[-2]


def _angles(
    cosines: Tensor | None, sines: Tensor | None
) -> tuple[NDArray[np.float32] | None, NDArray[np.float32] | None]:
    if cosines is None or sines is None:
        return None, None
    first, second = (angles.contiguous().view(-1, angles.shape[-1]) for angles in (cosines, sines))
    return first.numpy(), second.numpy()
