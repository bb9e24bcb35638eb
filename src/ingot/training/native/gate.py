"""The gated activation in one pass each way, in float32, on CPUs with kernels for it.

PyTorch takes two passes forward and three backward. Source: SwiGLU, arXiv:2002.05202.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ingot.training.native import kernels


def gated(gates: Tensor, ups: Tensor) -> Tensor:
    """Return silu(gates) * ups, float32, of their common shape."""
    out: Tensor = _gate(gates, ups)
    return out


@torch.library.custom_op("ingot::gate", mutates_args=(), device_types="cpu")
def _gate(gates: Tensor, ups: Tensor) -> Tensor:
    out: Tensor = _like_gate(gates, ups)
    kernels().gate(*(_flat(x) for x in (gates, ups, out)))
    return out


@_gate.register_fake
def _like_gate(gates: Tensor, _ups: Tensor) -> Tensor:
    return gates.new_empty(gates.shape)


@torch.library.custom_op("ingot::gate_backward", mutates_args=(), device_types="cpu")
def _gate_backward(gates: Tensor, ups: Tensor, grad_out: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gradients by gates and ups."""
    gradients: tuple[Tensor, Tensor] = _like_gate_backward(gates, ups, grad_out)
    kernels().gate_back(*(_flat(x) for x in (gates, ups, grad_out, *gradients)))
    return gradients


@_gate_backward.register_fake
def _like_gate_backward(gates: Tensor, _ups: Tensor, _by_out: Tensor) -> tuple[Tensor, Tensor]:
    return gates.new_empty(gates.shape), gates.new_empty(gates.shape)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG001
    ctx.save_for_backward(*inputs)


def _backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor, Tensor]:
    gradients: tuple[Tensor, Tensor] = _gate_backward(*ctx.saved_tensors, grad_out)
    return gradients


_gate.register_autograd(_backward, setup_context=_keep)


def _flat(x: Tensor) -> Any:
    return x.detach().contiguous().view(-1).numpy()
