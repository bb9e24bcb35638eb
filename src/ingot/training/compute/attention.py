"""Who sees whom in training: several examples in one sequence, none seeing another."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from ingot.model.attend import Attend, by_window, causal_mask
from ingot.model.config import ModelConfig
from ingot.training.compute.precision import on_device
from ingot.training.native.attention import can_fuse, fused_attention, fused_attention_from


def attention_for(
    config: ModelConfig, ids: Tensor, segments: NDArray[np.int32] | None
) -> Attend | None:
    """Return how sequences of ``ids`` (B, T) attend; None for the model's own way.

    Args:
        config: Of the model.
        ids: Tokens, on the device that computes.
        segments: Segment of each position, (B, T), equal numbers side by side; None for one.
    """
    device = ids.device
    if can_fuse(config.head_dim, len(ids) * config.num_key_value_heads, device):
        return by_window(config, lambda window: _fused_within(window, ids, segments))
    if segments is None:
        return None
    seen = on_device(segments, device)
    return by_window(config, lambda window: segment_attention(seen, window))


def _fused_within(window: int | None, ids: Tensor, segments: NDArray[np.int32] | None) -> Attend:
    """Return the kernels' attention within segments, if any, and a window, if any."""
    if segments is None and (window is None or window >= ids.shape[1]):
        return fused_attention
    starts = first_seen(np.zeros(ids.shape, np.int32) if segments is None else segments, window)
    return fused_attention_from(torch.from_numpy(starts))


def first_seen(segments: NDArray[np.int32], window: int | None) -> NDArray[np.int32]:
    """Return the first position that each sees, (B, T): of its segment, and within the window."""
    positions = np.arange(segments.shape[1], dtype=np.int64)
    starts = positions - segment_positions(segments)
    if window is not None:
        starts = np.maximum(starts, positions + 1 - window)
    return starts.astype(np.int32)


def segment_attention(segments: Tensor, window: int | None = None) -> Attend:
    """Return causal attention that does not cross from one segment to another.

    Args:
        segments: Segment of each position, (B, T); equal numbers, same segment.
        window: Tokens that each token attends to, itself included; None for all before it.
    """
    near = causal_mask(window, segments.shape[1], segments.device)
    seen = (segments[:, :, None] == segments[:, None, :]) & near
    seen = seen[:, None]  # all heads alike

    def attend(_layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        mixed = functional.scaled_dot_product_attention(
            q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), attn_mask=seen, enable_gqa=True
        )
        return mixed.transpose(1, 2)

    return attend


def segment_positions(segments: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return each token's position in its own segment, (B, T): 0 where a new one begins."""
    positions = np.broadcast_to(np.arange(segments.shape[1], dtype=np.int64), segments.shape)
    starts = np.zeros(segments.shape, dtype=np.int64)
    new = segments[:, 1:] != segments[:, :-1]
    starts[:, 1:] = np.where(new, positions[:, 1:], 0)
    return positions - np.maximum.accumulate(starts, axis=1)
