"""PyTorch module of Qwen3's dense architecture, as published.

Shape suffixes: B sequences, T positions, D hidden size, F feed-forward width,
H query heads, G key-value heads, K head width, V vocabulary. ``...`` is any
leading shape, so one module serves batches of windows (B, T) in training and
packed rows of many requests (T) in inference.

Source: Qwen3 Technical Report, arXiv:2505.09388. Tensor names are Hugging Face's.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from ingot.errors import UsageError
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


def attention_within(window: int, length: int, device: torch.device) -> Attend:
    """Return causal attention to the last ``window`` of ``length`` tokens, itself included."""
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


class RMSNorm(nn.Module):
    """Root-mean-square normalisation with a learned gain (arXiv:1910.07467)."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last dimension."""
        return functional.rms_norm(x, self.weight.shape, self.weight.to(x.dtype), self.eps)


class Rotary(nn.Module):
    """Rotary position embedding (arXiv:2104.09864), in halves as Hugging Face lays it out."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        found, _ = config.rope.frequencies(config.rotary_dim, config.max_position_embeddings)
        frequencies = torch.from_numpy(found).to(torch.get_default_device(), torch.float32)
        positions = torch.arange(config.max_position_embeddings, dtype=torch.float32)
        angles = torch.outer(positions, frequencies)
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)
        self.cos: Tensor
        self.sin: Tensor

    def forward(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Return cosines and sines (..., 1, K/2) for integer positions (...)."""
        return self.cos[positions].unsqueeze(-2), self.sin[positions].unsqueeze(-2)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate each pair (first half, second half) of x (..., heads, K) by its position's angle."""
    first, second = x.chunk(2, dim=-1)
    cos, sin = cos.to(x.dtype), sin.to(x.dtype)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)


class Attention(nn.Module):
    """Grouped-query attention with normalised queries and keys."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        d, k = config.hidden_size, config.head_dim
        self.layer, self.head_dim = layer, k
        self.q_proj = nn.Linear(d, config.num_attention_heads * k, bias=False)
        self.k_proj = nn.Linear(d, config.num_key_value_heads * k, bias=False)
        self.v_proj = nn.Linear(d, config.num_key_value_heads * k, bias=False)
        self.o_proj = nn.Linear(config.num_attention_heads * k, d, bias=False)
        self.q_norm = RMSNorm(k, config.rms_norm_eps)
        self.k_norm = RMSNorm(k, config.rms_norm_eps)

    def forward(self, x: Tensor, angles: tuple[Tensor, Tensor], attend: Attend) -> Tensor:
        """Map (..., D) to (..., D)."""
        split = (*x.shape[:-1], -1, self.head_dim)
        q = self.norm_and_rope(self.q_norm, self.q_proj(x).view(split), angles)
        k = self.norm_and_rope(self.k_norm, self.k_proj(x).view(split), angles)
        v = self.v_proj(x).view(split)
        mixed: Tensor = self.o_proj(attend(self.layer, q, k, v).flatten(-2))
        return mixed

    def norm_and_rope(self, norm: RMSNorm, x: Tensor, angles: tuple[Tensor, Tensor]) -> Tensor:
        """Normalise and rotate x (..., heads, K)."""
        return rotate(norm(x), *angles)


class FeedForward(nn.Module):
    """SwiGLU (arXiv:2002.05202)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        d, f = config.hidden_size, config.intermediate_size
        self.gate_proj = nn.Linear(d, f, bias=False)
        self.up_proj = nn.Linear(d, f, bias=False)
        self.down_proj = nn.Linear(f, d, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., D) to (..., D)."""
        out: Tensor = self.down_proj(functional.silu(self.gate_proj(x)) * self.up_proj(x))
        return out


class Block(nn.Module):
    """One pre-norm transformer block."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.self_attn = Attention(config, layer)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.mlp = FeedForward(config)

    def forward(self, x: Tensor, angles: tuple[Tensor, Tensor], attend: Attend) -> Tensor:
        """Map (..., D) to (..., D)."""
        x = x + self.self_attn(self.input_layernorm(x), angles, attend)
        out: Tensor = x + self.mlp(self.post_attention_layernorm(x))
        return out


class Backbone(nn.Module):
    """Embedding, blocks and final norm; named ``model`` inside a checkpoint."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(
            Block(config, layer) for layer in range(config.num_hidden_layers)
        )
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)


class Transformer(nn.Module):
    """The language model; its state dict holds ``config.tensor_shapes()`` exactly."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        if config.variants:
            name, value = next(iter(config.variants.items()))
            raise UsageError(f"{value!r} is not supported yet", where=f"model.{name}")
        self.config = config
        self.tokens = config.vocab_size
        """Tokens that logits are computed for; fewer than the embedding's rows where it is padded.

        The rows beyond are never predicted and never a target, so they count in no softmax.
        """
        self.model = Backbone(config)
        self.rotary = Rotary(config)
        if not config.tie_word_embeddings:
            self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)

    @property
    def head_weight(self) -> Tensor:
        """The rows of the output matrix that stand for tokens, (V, D)."""
        tied = self.config.tie_word_embeddings
        weight = self.model.embed_tokens.weight if tied else self.lm_head.weight
        return weight if self.tokens == self.config.vocab_size else weight[: self.tokens]

    def initialise(self, generator: torch.Generator) -> None:
        """Initialise the weights: normal of width 1/√D, projections into the residual stream zero.

        Drawn on the CPU, so that every device begins with the same weights.

        Zero residual projections make every block the identity at first, which
        trains faster than GPT-2's scaled normal (modded-nanogpt's record log).
        """
        std = 1.0 / math.sqrt(self.config.hidden_size)
        for name, parameter in self.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                nn.init.zeros_(parameter)
            elif parameter.ndim == 2:
                drawn = torch.empty(parameter.shape).normal_(std=std, generator=generator)
                parameter.detach().copy_(drawn)
            else:
                nn.init.ones_(parameter)

    def forward(
        self, ids: Tensor, positions: Tensor | None = None, attend: Attend | None = None
    ) -> Tensor:
        """Return the hidden states (..., D) after the last norm for token ids (...).

        ``attend`` defaults to causal attention within each row, and within the sliding window.
        ``positions`` has the shape of ``ids`` and defaults to 0, 1, … along the last dimension.
        """
        if positions is None:
            positions = torch.arange(ids.shape[-1], device=ids.device)
        attend = attend or self.attention(ids.shape[-1], ids.device)
        return self.forward_blocks(self.model.embed_tokens(ids), self.rotary(positions), attend)

    def forward_blocks(self, x: Tensor, angles: tuple[Tensor, Tensor], attend: Attend) -> Tensor:
        """Apply every block and the last norm to embeddings x (..., D): (..., D)."""
        for block in self.model.layers:
            x = block(x, angles, attend)
        hidden: Tensor = self.model.norm(x)
        return hidden

    def attention(self, length: int, device: torch.device) -> Attend:
        """Return the attention for sequences of ``length`` tokens."""
        window = self.config.sliding_window
        if window is None or window >= length:
            return causal_attention
        return attention_within(window, length, device)

    def logits(self, hidden: Tensor) -> Tensor:
        """Return the scores (..., V) of the next token for hidden states (..., D)."""
        return functional.linear(hidden, self.head_weight)
