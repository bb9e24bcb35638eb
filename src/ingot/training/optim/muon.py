"""Muon: orthogonalised momentum for the matrices of the blocks."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from ingot.training.distributed.fsdp import local, shard, unshard

# Coefficients of the five Newton-Schulz steps: each is the best odd quintic for the
# interval the one before it leaves (Polar Express, arXiv:2505.16932, as used by
# modded-nanogpt). Singular values end within a few percent of 1.
_NEWTON_SCHULZ = (
    (4.0848, -6.8946, 2.9270),
    (3.9505, -6.3029, 2.6377),
    (3.7418, -5.5913, 2.3037),
    (2.8769, -3.1427, 1.2046),
    (2.8366, -3.0525, 1.2012),
)


class Muon:
    """Updates matrices by their orthogonalised momentum, so every direction moves alike.

    Source: Muon (Keller Jordan and others, 2024), with Nesterov momentum and the
    scale √max(1, rows/columns). Matrices of one shape are stacked, so that
    Newton-Schulz runs as a few batched products. It needs full matrices: where they are sharded
    among processes, each process gathers them and keeps its shard of the result.

    Args:
        matrices: Parameters to update, (rows, columns).
        rate: Learning rate; an orthogonalised update has spectral norm 1.
        momentum: Fraction of the momentum that an update keeps.
        weight_decay: Per unit of rate.
        dtype: Format in which matrices are orthogonalised.
    """

    def __init__(
        self,
        matrices: Iterable[nn.Parameter],
        *,
        rate: float,
        momentum: float,
        weight_decay: float,
        dtype: torch.dtype,
    ) -> None:
        self._rate, self._momentum, self._dtype = rate, momentum, dtype
        self._weight_decay = weight_decay
        by_shape: dict[torch.Size, list[nn.Parameter]] = {}
        for matrix in matrices:
            by_shape.setdefault(matrix.shape, []).append(matrix)
        self._stacks = [
            (group, torch.zeros(len(group), *local(group[0]).shape, device=group[0].device))
            for group in by_shape.values()
        ]

    @torch.no_grad()
    def step(self, lr_scale: float, accepted: Tensor) -> None:
        """Update the matrices with ``lr_scale`` times the full rate, if that is accepted."""
        rate, momentum = self._rate * lr_scale, self._momentum
        made = accepted.float()  # 1 or 0
        for group, momenta in self._stacks:
            gradients = torch.stack([local(p.grad) for p in group if p.grad is not None])
            # By bits, for NaN times 0 is NaN; masked_fill_ takes 7 to 24 times as long.
            gradients.view(torch.int32).mul_(accepted)
            momenta.lerp_(gradients, made * (1 - momentum))
            directions = unshard(gradients.lerp_(momenta, momentum), group[0], stacked=1)
            updates = shard(orthogonalise(directions, self._dtype), group[0], stacked=1)
            rows, columns = group[0].shape
            scale = max(1.0, rows / columns) ** 0.5
            for parameter, update in zip(group, updates, strict=True):
                if self._weight_decay:
                    local(parameter).mul_(1 - made * (rate * self._weight_decay))
                local(parameter).addcmul_(update, made, value=-rate * scale)

    def momenta(self) -> dict[nn.Parameter, Tensor]:
        """Return each matrix's momentum, or this process's shard of it, as a writable view."""
        return {
            parameter: momentum
            for group, momenta in self._stacks
            for parameter, momentum in zip(group, momenta.unbind(), strict=True)
        }


def orthogonalise(matrices: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return (N, R, C) with the singular vectors kept and the singular values near 1.

    Computed and returned in ``dtype``. The singular values are only brought near 1, so
    bfloat16's three digits are enough (Muon's own choice).
    """
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(1, 2), keepdim=True) * 1.02 + 1e-7)
    x = x.to(dtype)
    for a, b, c in _NEWTON_SCHULZ:
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x
