"""Norms, rotations and gated activations computed by training's own kernels."""

from __future__ import annotations

import torch
from torch import Tensor

from ingot.model.config import ModelConfig
from ingot.model.transformer import Attention, FeedForward, RMSNorm, Transformer
from ingot.training.compute.precision import Precision
from ingot.training.compute.replace import taking_over
from ingot.training.native import in_use
from ingot.training.native.gate import gated
from ingot.training.native.norm import norm, norm_and_rotate

_NORM_MULTIPLE, _HEAD_MULTIPLE = 16, 32  # widths that the kernels' registers divide


def _by_kernel(x: Tensor) -> bool:
    """Tell whether a norm of x is the kernels' now; those in float32 take nothing else."""
    kind = in_use(x.device)
    return kind is torch.bfloat16 or (kind is torch.float32 and x.dtype is torch.float32)


class FusedNorm(RMSNorm):
    """RMSNorm by the kernels, to the numbers that they compute in."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last dimension."""
        if not _by_kernel(x):
            return super().forward(x)
        return norm(x, self.weight, self.eps)


class FusedAttention(Attention):
    """Attention whose queries and keys are normalised and rotated at once by the kernels."""

    def norm_and_rope(
        self, norm: RMSNorm | None, x: Tensor, angles: tuple[Tensor, Tensor] | None
    ) -> Tensor:
        """Normalise and rotate queries or keys (..., heads * K): (..., heads, K)."""
        if norm is None or angles is None or not _by_kernel(x):
            return super().norm_and_rope(norm, x, angles)
        return norm_and_rotate(self.heads(x), norm.weight, norm.eps, angles)


class FusedFeedForward(FeedForward):
    """A gated activation in one pass each way, in float32."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., D) to (..., D)."""
        if self.gate_proj is None or {in_use(x.device), x.dtype} != {torch.float32}:
            return super().forward(x)
        out: Tensor = self.down_proj(gated(self.gate_proj(x), self.up_proj(x)))
        return out


def _fits(config: ModelConfig, attention: Attention) -> bool:
    """Tell whether the kernels normalise and rotate as this layer does: whole heads, each alone."""
    whole = config.rotary_dim == config.head_dim and config.head_dim % _HEAD_MULTIPLE == 0
    return whole and config.qk_norm == "head" and attention.rope is not None


def fuse(model: Transformer, precision: Precision) -> None:
    """Make norms with the rotation after them, and gates, one operator each where kernels exist.

    Where the model computes in other numbers than ``precision`` the modules compute as before.
    """
    if not precision.has_kernels:
        return
    for name, module in list(model.named_modules()):
        if type(module) is Attention and _fits(model.config, module):
            with torch.device("meta"):
                attention = FusedAttention(model.config, module.layer)
            model.set_submodule(name, taking_over(attention, module))
        gated_silu = model.config.gated_mlp and model.config.activation == "silu"
        if type(module) is FeedForward and gated_silu and precision.dtype is torch.float32:
            with torch.device("meta"):
                feed_forward = FusedFeedForward(model.config)
            model.set_submodule(name, taking_over(feed_forward, module))
    for name, module in list(model.named_modules()):
        if type(module) is RMSNorm and module.weight.numel() % _NORM_MULTIPLE == 0:
            with torch.device("meta"):
                fused = FusedNorm(module.weight.numel(), module.eps)
            model.set_submodule(name, taking_over(fused, module))
