"""Rotary position embedding (arXiv:2104.09864), in halves as Hugging Face lays it out.

Shapes: T positions, R rotated dimensions of each head, K its width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ingot.model.config import ModelConfig
from ingot.model.rope import RopeConfig

Angles = tuple[tuple[Tensor, Tensor], ...]
"""Cosines and sines (..., T, 1, R/2) for each of ``ModelConfig.ropes``."""

_MOST_ROWS = 1 << 14  # 8 MB at a head of 128; a table of 131,072 positions would take 67 MB


class Rotary(nn.Module):
    """The angles of each of the model's frequencies.

    Args:
        config: Of the model.
        context: Longest context that it is opened with; None takes the model's own.
    """

    def __init__(self, config: ModelConfig, context: int | None = None) -> None:
        super().__init__()
        context = context or config.max_position_embeddings
        self.tables = nn.ModuleList(
            RotaryTable(rope, config.rotary_dim, config.max_position_embeddings, context)
            for rope in config.ropes
        )

    def forward(self, positions: Tensor) -> Angles:
        """Return cosines and sines for integer positions (..., T)."""
        return tuple(table(positions) for table in self.tables)


class RotaryTable(nn.Module):
    """Cosines and sines by position: looked up where all fit a small table, else computed.

    Both give the same bits.
    """

    def __init__(self, rope: RopeConfig, rotary_dim: int, positions: int, context: int) -> None:
        super().__init__()
        found, self.factor = rope.frequencies(rotary_dim, context)
        device = torch.get_default_device()
        self.register_buffer(
            "frequencies", torch.from_numpy(found).to(device, torch.float32), persistent=False
        )
        self.frequencies: Tensor
        self.cos: Tensor | None = None
        self.sin: Tensor | None = None
        if positions <= _MOST_ROWS:
            cos, sin = self._computed(torch.arange(positions))
            del self.cos, self.sin
            self.register_buffer("cos", cos, persistent=False)
            self.register_buffer("sin", sin, persistent=False)

    def forward(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Return cosines and sines (..., T, 1, R/2) for integer positions (..., T)."""
        if self.cos is None or self.sin is None:
            cos, sin = self._computed(positions)
            return cos.unsqueeze(-2), sin.unsqueeze(-2)
        return self.cos[positions].unsqueeze(-2), self.sin[positions].unsqueeze(-2)

    def _computed(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Return cosines and sines (..., T, R/2), in float32."""
        angles = positions.to(torch.float32).unsqueeze(-1) * self.frequencies
        cos, sin = angles.cos(), angles.sin()
        return (cos, sin) if self.factor == 1.0 else (cos * self.factor, sin * self.factor)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate each pair of x (..., heads, K) by its position's angle.

    Pairs are the halves of the first R dimensions; those after them pass.
    """
    cos, sin = cos.to(x.dtype), sin.to(x.dtype)
    width = 2 * cos.shape[-1]
    turned = x if width == x.shape[-1] else x[..., :width]
    first, second = turned.chunk(2, dim=-1)
    parts = (first * cos - second * sin, second * cos + first * sin)
    return torch.cat(parts if turned is x else (*parts, x[..., width:]), dim=-1)
