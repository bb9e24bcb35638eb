"""The model's norms and rotations, given to the kernels while a model is trained."""

from __future__ import annotations

from torch import Tensor

from ingot.model.transformer import Attention, RMSNorm, Transformer
from ingot.training.compute.precision import Precision
from ingot.training.native import computes_in_bfloat16
from ingot.training.native.norm import norm, norm_and_rotate


def fuse(model: Transformer, precision: Precision) -> None:
    """Make norms, and the rotation after them, one operator each where there are kernels for it.

    The weights stay where they are; where autocast is not to bfloat16 the modules compute as
    before.
    """
    if not precision.has_kernels:
        return
    for module in model.modules():
        if type(module) is RMSNorm and module.weight.numel() % 16 == 0:
            module.__class__ = FusedNorm
        elif type(module) is Attention and module.head_dim % 32 == 0:
            module.__class__ = FusedAttention


class FusedNorm(RMSNorm):
    """RMSNorm to bfloat16 by the kernels."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last dimension."""
        if not computes_in_bfloat16():
            return super().forward(x)
        return norm(x, self.weight, self.eps)


class FusedAttention(Attention):
    """Attention whose queries and keys are normalised and turned at once by the kernels."""

    def norm_and_rope(self, norm: RMSNorm, x: Tensor, angles: tuple[Tensor, Tensor]) -> Tensor:
        """Normalise and rotate x (..., heads, K)."""
        if not computes_in_bfloat16():
            return super().norm_and_rope(norm, x, angles)
        return norm_and_rotate(x, norm.weight, norm.eps, angles)
