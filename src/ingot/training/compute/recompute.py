"""Activation checkpointing: blocks that recompute their activations in the backward pass.

Source: Chen and others, "Training Deep Nets with Sublinear Memory Cost", arXiv:1604.06174.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ingot.model.attend import Attend
from ingot.model.rotary import Angles
from ingot.model.transformer import Block, Transformer
from ingot.training.compute.replace import taking_over


class RecomputedBlock(Block):
    """A block that keeps only its input for the backward pass."""

    def forward(self, x: Tensor, angles: Angles, attend: Attend) -> Tensor:
        """Map (..., D) to (..., D)."""
        out: Tensor = checkpoint(super().forward, x, angles, attend, use_reentrant=False)
        return out


def recompute_blocks(model: Transformer) -> None:
    """Make each block of a model keep only its input for the backward pass."""
    for layer, block in enumerate(list(model.model.layers)):
        with torch.device("meta"):
            recomputed = RecomputedBlock(model.config, layer)
        model.set_submodule(f"model.layers.{layer}", taking_over(recomputed, block))
