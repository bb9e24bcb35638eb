"""A model sharded among processes: each keeps a shard of every weight, gradient and moment.

FSDP2 (``torch.distributed.fsdp.fully_shard``, arXiv:2304.11277). A block's weights are gathered
when it runs and dropped after it; gradients are reduced and scattered in the backward pass.
Every function here leaves tensors and models that are not sharded alone, so callers need no check.

PyTorch's part of it is imported where it is used: that takes half a second, which most runs need
not spend.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeGuard, cast

import torch
from torch import Tensor

from ingot.model.transformer import Transformer

if TYPE_CHECKING:
    from torch.distributed.fsdp import FSDPModule
    from torch.distributed.tensor import DTensor


def shard_model(model: Transformer) -> None:
    """Shard a model that every process holds in full; then all processes must run it together."""
    from torch.distributed.fsdp import FSDPModule, fully_shard  # noqa: PLC0415

    for block in model.model.layers:
        fully_shard(block)
    fully_shard(model)
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.set_gradient_divide_factor(1.0)  # sums: losses are weighed by their tokens
            module.set_force_sum_reduction_for_comms(enable=True)  # all that gloo knows


def is_sharded(model: Transformer) -> bool:
    """Tell whether a model is sharded."""
    return hasattr(model, "set_requires_gradient_sync")


def set_gradient_sync(model: Transformer, *, enabled: bool) -> None:
    """Choose whether the next backward pass reduces gradients; without, they accumulate."""
    if is_sharded(model):
        cast("FSDPModule", model).set_requires_gradient_sync(enabled)


def local(tensor: Tensor) -> Tensor:
    """Return this process's shard, sharing its memory."""
    return tensor.to_local() if _is_sharded(tensor) else tensor


def full(tensor: Tensor) -> Tensor:
    """Return the full tensor; a collective call."""
    return tensor.full_tensor() if _is_sharded(tensor) else tensor


def unshard(own: Tensor, like: Tensor, *, stacked: int = 0) -> Tensor:
    """Return the full tensor of what processes hold shards of; a collective call.

    Args:
        own: This process's shard, or several of them stacked.
        like: A tensor that is sharded alike.
        stacked: Dimensions of ``own`` before those of ``like``.
    """
    if not _is_sharded(like):
        return own
    from torch.distributed.tensor import DTensor, Shard  # noqa: PLC0415

    shape = torch.Size((*own.shape[:stacked], *like.shape))
    strides = torch.empty(shape, device="meta").stride()
    placed = DTensor.from_local(
        own, like.device_mesh, [Shard(stacked)], run_check=False, shape=shape, stride=strides
    )
    return placed.full_tensor()


def shard(value: Tensor, like: Tensor, *, stacked: int = 0) -> Tensor:
    """Return this process's shard of a full tensor; the inverse of ``unshard``."""
    if not _is_sharded(like):
        return value
    from torch.distributed.tensor import DTensor, Replicate, Shard  # noqa: PLC0415

    held = DTensor.from_local(value, like.device_mesh, [Replicate()], run_check=False)
    return held.redistribute(placements=[Shard(stacked)]).to_local()


def full_weights(model: Transformer) -> dict[str, Tensor]:
    """Return the full weights by name; a collective call."""
    return {name: full(weight) for name, weight in model.state_dict().items()}


@torch.no_grad()
def load_weights(model: Transformer, weights: Mapping[str, Tensor]) -> None:
    """Load full weights.

    Raises:
        RuntimeError: a name or a shape does not fit.
    """
    if not is_sharded(model):
        model.load_state_dict(weights)
        return
    state = model.state_dict()
    if {name: weight.shape for name, weight in weights.items()} != {
        name: weight.shape for name, weight in state.items()
    }:
        raise RuntimeError("the weights are not those of this model")
    for name, weight in state.items():
        local(weight).copy_(shard(weights[name].to(weight.device), weight))


def _is_sharded(tensor: Tensor) -> TypeGuard[DTensor]:
    return hasattr(tensor, "full_tensor")
