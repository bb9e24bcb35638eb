"""Cross-entropy over a large vocabulary, without holding every logit at once."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from ingot.training.native import in_use, kernels

_LARGEST = 64 << 20
"""Bytes of float32 logits that may exist at once."""
_CACHED, _FEWEST_ROWS = 4 << 20, 256
"""Bytes of logits that stay in the cache between a kernel and the products beside it, and how many
rows those products need to be fast."""


def summed_cross_entropy(hidden: Tensor, head: Tensor, targets: Tensor) -> Tensor:
    """Return the summed cross-entropy of predicting ``targets``, a float32 scalar.

    Where all float32 logits would take more than 64 MiB, they are computed and dropped a chunk
    of tokens at a time; 4 MiB where a kernel takes them. The gradients are then computed in the
    forward pass, so that nothing is computed twice. Under autocast, products are in its dtype;
    the softmax is always in float32.

    Args:
        hidden: Hidden states, (N, D).
        head: Output matrix, (V, D).
        targets: Token ids, int64, (N,).
    """
    chunk = max(1, _LARGEST // (4 * head.shape[0]))
    if hidden.dtype is torch.float32 and in_use(hidden.device) is torch.float32:
        chunk = min(chunk, max(_FEWEST_ROWS, _CACHED // (4 * head.shape[0])))
    elif len(hidden) <= chunk:
        logits = functional.linear(hidden, head).float()
        return functional.cross_entropy(logits, targets, reduction="sum")
    total: Tensor = _Chunked.apply(hidden, head, targets, chunk)  # type: ignore[no-untyped-call]
    return total


def token_cross_entropy(hidden: Tensor, head: Tensor, targets: Tensor) -> Tensor:
    """Return each token's cross-entropy, float32, (N,).

    For losses that are not a plain sum of it. Where the logits would be large, they too are
    computed a chunk at a time, and again in the backward pass.
    Arguments as for ``summed_cross_entropy``.
    """
    chunk = max(1, _LARGEST // (4 * head.shape[0]))
    if len(hidden) <= chunk:
        return _token_losses(hidden, head, targets)
    parts = [
        checkpoint(_token_losses, some, head, wanted, use_reentrant=False)
        for some, wanted in zip(
            torch.split(hidden, chunk), torch.split(targets, chunk), strict=True
        )
    ]
    return torch.cat(parts)


def _token_losses(hidden: Tensor, head: Tensor, targets: Tensor) -> Tensor:
    logits = functional.linear(hidden, head).float()
    return functional.cross_entropy(logits, targets, reduction="none")


class _Chunked(torch.autograd.Function):
    """Cross-entropy with its gradients computed forward; backward only multiplies by a scalar."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, head: Tensor, targets: Tensor, chunk: int) -> Tensor:
        device = hidden.device.type
        autocast = torch.is_autocast_enabled(device)
        dtype = torch.get_autocast_dtype(device) if autocast else hidden.dtype
        wants_hidden, wants_head, *_ = ctx.needs_input_grad
        hidden_grad = torch.empty_like(hidden) if wants_hidden else None
        head_grad = torch.zeros_like(head) if wants_head else None
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        with torch.autocast(device, enabled=False):
            matrix = head.to(dtype)
            for start in range(0, len(hidden), chunk):
                rows = slice(start, start + chunk)
                states, wanted = hidden[rows].to(dtype), targets[rows]
                logits = functional.linear(states, matrix).float()
                losses, grad_logits = _losses_and_gradient(logits, wanted)
                total += losses.sum()
                grad_logits = grad_logits.to(dtype)
                if hidden_grad is not None:
                    hidden_grad[rows] = grad_logits @ matrix
                if head_grad is not None:
                    head_grad += grad_logits.mT @ states
        ctx.save_for_backward(hidden_grad, head_grad)
        return total

    @staticmethod
    def backward(ctx: Any, factor: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        hidden_grad, head_grad = ctx.saved_tensors
        return (
            None if hidden_grad is None else hidden_grad * factor,
            None if head_grad is None else head_grad * factor,
            None,
            None,
        )


def _losses_and_gradient(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return each row's cross-entropy, and the gradient by the logits, which it overwrites."""
    if in_use(logits.device) is torch.float32:
        losses = torch.empty(len(logits))
        kernels().cross_entropy(logits.numpy(), targets.numpy(), losses.numpy())
        return losses, logits
    wanted = targets[:, None]
    normaliser = logits.logsumexp(1, keepdim=True)
    losses = normaliser - logits.gather(1, wanted)
    gradient = logits.sub_(normaliser).exp_()  # softmax
    return losses, gradient.scatter_add_(1, wanted, gradient.new_full(wanted.shape, -1.0))
