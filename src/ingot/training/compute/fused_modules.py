"""Norms and rotations computed by training's own kernels."""

from __future__ import annotations

import torch
from torch import Tensor

from ingot.model.config import ModelConfig
from ingot.model.transformer import Attention, RMSNorm, Transformer
from ingot.training.compute.precision import Precision
from ingot.training.compute.replace import taking_over
from ingot.training.native import computes_in_bfloat16
from ingot.training.native.norm import norm, norm_and_rotate

_NORM_MULTIPLE, _HEAD_MULTIPLE = 16, 32  # widths that the kernels' registers divide


class FusedNorm(RMSNorm):
    """RMSNorm to bfloat16 by the kernels."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last dimension."""
        if not computes_in_bfloat16():
            return super().forward(x)
        return norm(x, self.weight, self.eps)


class FusedAttention(Attention):
    """Attention whose queries and keys are normalised and rotated at once by the kernels."""

    def norm_and_rope(
        self, norm: RMSNorm | None, x: Tensor, angles: tuple[Tensor, Tensor] | None
    ) -> Tensor:
        """Normalise and rotate queries or keys (..., heads * K): (..., heads, K)."""
        if norm is None or angles is None or not computes_in_bfloat16():
            return super().norm_and_rope(norm, x, angles)
        return norm_and_rotate(self.heads(x), norm.weight, norm.eps, angles)


def _fits(config: ModelConfig, attention: Attention) -> bool:
    """Tell whether the kernels normalise and rotate as this layer does: whole heads, each alone."""
    whole = config.rotary_dim == config.head_dim and config.head_dim % _HEAD_MULTIPLE == 0
    return whole and config.qk_norm == "head" and attention.rope is not None


def fuse(model: Transformer, precision: Precision) -> None:
    """Make norms, and the rotation after them, one operator each where there are kernels for it.

    Where autocast is not to bfloat16 the modules compute as before.
    """
    if not precision.has_kernels:
        return
    for name, module in list(model.named_modules()):
        if type(module) is Attention and _fits(model.config, module):
            with torch.device("meta"):
                attention = FusedAttention(model.config, module.layer)
            model.set_submodule(name, taking_over(attention, module))
    for name, module in list(model.named_modules()):
        if type(module) is RMSNorm and module.weight.numel() % _NORM_MULTIPLE == 0:
            with torch.device("meta"):
                fused = FusedNorm(module.weight.numel(), module.eps)
            model.set_submodule(name, taking_over(fused, module))
