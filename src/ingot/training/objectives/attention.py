"""Attention within segments: several examples in one window, none seeing another."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from ingot.model.transformer import Attend, band


def segment_attention(segments: Tensor, window: int | None = None) -> Attend:
    """Return causal attention that does not cross from one segment to another.

    Args:
        segments: Segment of each position, (B, T); equal numbers, same segment.
        window: Tokens that each token attends to, itself included; None for all before it.
    """
    near = band(window, segments.shape[1], segments.device)
    seen = (segments[:, :, None] == segments[:, None, :]) & near
    seen = seen[:, None]  # all heads alike

    def attend(_layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        mixed = functional.scaled_dot_product_attention(
            q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), attn_mask=seen, enable_gqa=True
        )
        return mixed.transpose(1, 2)

    return attend


def segment_positions(segments: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return each token's place in its own segment, (B, T): 0 where a new one begins."""
    places = np.broadcast_to(np.arange(segments.shape[1], dtype=np.int64), segments.shape)
    starts = np.zeros(segments.shape, dtype=np.int64)
    new = segments[:, 1:] != segments[:, :-1]
    starts[:, 1:] = np.where(new, places[:, 1:], 0)
    return places - np.maximum.accumulate(starts, axis=1)
