"""Attention over positions: who sees whom, for whole sequences.

Shapes: B sequences, T positions, H query heads, G key-value heads, K head width.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from ingot.model.config import ModelConfig


class Attend(Protocol):
    """Attention over positions; training and inference each provide their own."""

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor, /) -> Tensor:
        """Take q (..., H, K), k and v (..., G, K) after norm and rotation; return (..., H, K)."""


def causal_attention(_layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal attention within each sequence; all tensors are (B, T, heads, K)."""
    mixed = functional.scaled_dot_product_attention(
        q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), is_causal=True, enable_gqa=True
    )
    return mixed.transpose(1, 2)


def attention_within(window: int | None, length: int, device: torch.device) -> Attend:
    """Return causal attention to the last ``window`` of ``length`` tokens, itself included."""
    if window is None or window >= length:
        return causal_attention
    seen = causal_mask(window, length, device)

    def attend(_layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        mixed = functional.scaled_dot_product_attention(
            q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), attn_mask=seen, enable_gqa=True
        )
        return mixed.transpose(1, 2)

    return attend


def causal_mask(window: int | None, length: int, device: torch.device) -> Tensor:
    """Return which positions (rows) see which (columns), (T, T) of bool; None if causal."""
    causal = torch.ones(length, length, dtype=torch.bool, device=device).tril()
    return causal if window is None else causal.triu(1 - window)


def by_window(config: ModelConfig, within: Callable[[int | None], Attend]) -> Attend:
    """Return attention that gives each layer its own window.

    Args:
        config: Of the model.
        within: Makes attention to the last so many tokens, or to all for None. It is called
            once for each window that the model has.
    """
    near = within(config.sliding_window)
    if not config.full_attention_layers:
        return near
    far = within(None)
    kinds = [near if config.window_of(each) else far for each in range(config.num_hidden_layers)]

    def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return kinds[layer](layer, q, k, v)

    return attend
