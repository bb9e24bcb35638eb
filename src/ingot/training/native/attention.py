"""Causal attention in one pass each way, on CPUs that have kernels for it.

PyTorch's ``scaled_dot_product_attention`` takes twice as long there in an update (2 cores of Zen 4,
bfloat16, 256 tokens, heads of 64). Shapes: B sequences, T tokens, H heads of queries, G of keys and
values, K their width.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ingot.model.attend import Attend
from ingot.training.native import in_use, kernels, numbers

_WIDEST = 256  # the kernels' own limit


def can_fuse(width: int, parts: int, device: torch.device) -> bool:
    """Tell whether heads of ``width`` are best attended to so on ``device``, here and now.

    ``parts``, sequences times heads of keys, is what threads share out among them.
    """
    fits = width % 16 == 0 and width <= _WIDEST and parts >= torch.get_num_threads()
    return fits and in_use(device) is not None


def fused_attention(_layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attend to all tokens up to each: q (B, T, H, K), k and v (B, T, G, K); (B, T, H, K)."""
    return _fused(q, k, v, None)


def fused_attention_from(starts: Tensor) -> Attend:
    """Return attention to the tokens from ``starts``, int32 (B, T), up to each."""

    def attend(_layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return _fused(q, k, v, starts)

    return attend


def _fused(q: Tensor, k: Tensor, v: Tensor, starts: Tensor | None) -> Tensor:
    kind = in_use(q.device) or q.dtype
    mixed: Tensor = _attend(q.to(kind), k.to(kind), v.to(kind), starts)[0]
    return mixed


@torch.library.custom_op("ingot::attend", mutates_args=(), device_types="cpu")
def _attend(q: Tensor, k: Tensor, v: Tensor, starts: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return what is mixed and the logarithms of the sums of e^score, float32 (B, H, T)."""
    mixed, totals = _like_attend(q, k, v, starts)
    kernels().attend(*map(numbers, (q, k, v)), _array(starts), numbers(mixed), totals.numpy())
    return mixed, totals


@_attend.register_fake
def _like_attend(
    q: Tensor, _k: Tensor, _v: Tensor, _starts: Tensor | None
) -> tuple[Tensor, Tensor]:
    sequences, tokens, heads, _width = q.shape
    return q.new_empty(q.shape), q.new_empty((sequences, heads, tokens), dtype=torch.float32)


@torch.library.custom_op("ingot::attend_backward", mutates_args=(), device_types="cpu")
def _attend_backward(
    q: Tensor, k: Tensor, v: Tensor, starts: Tensor | None, totals: Tensor, grad_mixed: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients by q, k and v from the one by what was mixed."""
    gradients: tuple[Tensor, Tensor, Tensor] = _like_attend_backward(
        q, k, v, starts, totals, grad_mixed
    )
    kernels().attend_back(
        *map(numbers, (q, k, v)),
        _array(starts),
        totals.numpy(),
        numbers(grad_mixed),
        *map(numbers, gradients),
    )
    return gradients


@_attend_backward.register_fake
def _like_attend_backward(
    q: Tensor, k: Tensor, v: Tensor, _starts: Tensor | None, _totals: Tensor, _by_mixed: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    return q.new_empty(q.shape), k.new_empty(k.shape), v.new_empty(v.shape)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(*inputs, output[1])
    ctx.mark_non_differentiable(output[1])


def _backward(ctx: Any, grad_mixed: Tensor, _by_totals: Tensor) -> tuple[Tensor | None, ...]:
    grad_q, grad_k, grad_v = _attend_backward(*ctx.saved_tensors, grad_mixed)
    return grad_q, grad_k, grad_v, None


_attend.register_autograd(_backward, setup_context=_keep)


def _array(starts: Tensor | None) -> NDArray[np.int32] | None:
    return None if starts is None else starts.numpy()
