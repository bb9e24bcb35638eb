"""A model cut among processes: each keeps a part of every weight, gradient and moment.

FSDP2 (``torch.distributed.fsdp.fully_shard``, arXiv:2304.11277). A block's weights are
gathered when it runs and dropped after it; gradients are added up and cut on their way back.
Every function here does nothing to tensors and models that are not cut, so callers need not ask.

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


def shard(model: Transformer) -> None:
    """Cut a model that every process holds whole; from then on all run it, or none."""
    from torch.distributed.fsdp import FSDPModule, fully_shard  # noqa: PLC0415

    for block in model.model.layers:
        fully_shard(block)
    fully_shard(model)
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.set_gradient_divide_factor(1.0)  # sums: losses are weighed by their tokens
            module.set_force_sum_reduction_for_comms(enable=True)  # all that gloo knows


def is_sharded(model: Transformer) -> bool:
    """Tell whether a model has been cut."""
    return hasattr(model, "set_requires_gradient_sync")


def send_gradients(model: Transformer, *, now: bool) -> None:
    """Say whether the next backward pass adds up gradients, or leaves that to a later one."""
    if is_sharded(model):
        cast("FSDPModule", model).set_requires_gradient_sync(now)


def part(tensor: Tensor) -> Tensor:
    """Return this process's part, sharing its memory."""
    return tensor.to_local() if _is_cut(tensor) else tensor


def whole(tensor: Tensor) -> Tensor:
    """Return all of a tensor; every process must ask."""
    return tensor.full_tensor() if _is_cut(tensor) else tensor


def join(own: Tensor, like: Tensor, *, stacked: int = 0) -> Tensor:
    """Return all of what processes hold parts of; every process must ask.

    Args:
        own: This process's part, or several of them stacked.
        like: A tensor that is cut alike.
        stacked: Dimensions of ``own`` before those of ``like``.
    """
    if not _is_cut(like):
        return own
    from torch.distributed.tensor import DTensor, Shard  # noqa: PLC0415

    shape = torch.Size((*own.shape[:stacked], *like.shape))
    strides = torch.empty(shape, device="meta").stride()
    placed = DTensor.from_local(
        own, like.device_mesh, [Shard(stacked)], run_check=False, shape=shape, stride=strides
    )
    return placed.full_tensor()


def cut(value: Tensor, like: Tensor, *, stacked: int = 0) -> Tensor:
    """Return this process's part of what all of them hold; the other way of ``join``."""
    if not _is_cut(like):
        return value
    from torch.distributed.tensor import DTensor, Replicate, Shard  # noqa: PLC0415

    held = DTensor.from_local(value, like.device_mesh, [Replicate()], run_check=False)
    return held.redistribute(placements=[Shard(stacked)]).to_local()


def whole_weights(model: Transformer) -> dict[str, Tensor]:
    """Return the whole weights by name; every process must ask."""
    return {name: whole(weight) for name, weight in model.state_dict().items()}


@torch.no_grad()
def load_weights(model: Transformer, weights: Mapping[str, Tensor]) -> None:
    """Put whole weights back.

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
        part(weight).copy_(cut(weights[name].to(weight.device), weight))


def _is_cut(tensor: Tensor) -> TypeGuard[DTensor]:
    return hasattr(tensor, "full_tensor")
