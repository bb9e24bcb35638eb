"""PyTorch module of a dense transformer with the variants of ``ModelConfig``.

Shape suffixes: B sequences, T positions, D hidden size, F feed-forward width,
H query heads, G key-value heads, K head width, V vocabulary. ``...`` is any
leading shape, so one module serves batches of windows (B, T) in training and
packed rows of many requests (T) in inference.

Source: Qwen3 Technical Report, arXiv:2505.09388, whose architecture the defaults are. Tensor names
are Hugging Face's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from ingot.model.attend import Attend, attention_within, by_window
from ingot.model.config import ModelConfig
from ingot.model.rotary import Angles, Rotary, rotate
from ingot.model.variants import Activation

_ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    "silu": functional.silu,
    "gelu_tanh": partial(functional.gelu, approximate="tanh"),
}


class RMSNorm(nn.Module):
    """Root-mean-square normalisation with a learned gain (arXiv:1910.07467)."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last dimension."""
        return functional.rms_norm(x, self.weight.shape, self.weight.to(x.dtype), self.eps)


class LayerNorm(nn.Module):
    """Normalisation to mean zero and variance one, with gain and bias (arXiv:1607.06450)."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last dimension."""
        weight, bias = self.weight.to(x.dtype), self.bias.to(x.dtype)
        return functional.layer_norm(x, self.weight.shape, weight, bias, self.eps)


def block_norm(config: ModelConfig) -> RMSNorm | LayerNorm:
    """Return a norm over the residual stream."""
    kind = RMSNorm if config.norm == "rms" else LayerNorm
    return kind(config.hidden_size, config.rms_norm_eps)


class Attention(nn.Module):
    """Grouped-query attention."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        d, k = config.hidden_size, config.head_dim
        query, key = config.num_attention_heads * k, config.num_key_value_heads * k
        self.layer, self.head_dim = layer, k
        self.norms_heads = config.qk_norm == "head"
        """Whether each head is normalised alone."""
        rope = config.rope_of(layer)
        self.rope = None if rope is None else config.ropes.index(rope)
        """Which of the model's angles turn queries and keys; None turns none."""
        bias = config.attention_bias != "none"
        self.q_proj = nn.Linear(d, query, bias=bias)
        self.k_proj = nn.Linear(d, key, bias=bias)
        self.v_proj = nn.Linear(d, key, bias=bias)
        self.o_proj = nn.Linear(query, d, bias=config.attention_bias == "all")
        self.q_norm: RMSNorm | None = None
        self.k_norm: RMSNorm | None = None
        if config.qk_norm != "none":
            self.q_norm = RMSNorm(k if self.norms_heads else query, config.rms_norm_eps)
            self.k_norm = RMSNorm(k if self.norms_heads else key, config.rms_norm_eps)

    def forward(self, x: Tensor, angles: Angles, attend: Attend) -> Tensor:
        """Map (..., D) to (..., D)."""
        own = None if self.rope is None else angles[self.rope]
        q = self.norm_and_rope(self.q_norm, self.q_proj(x), own)
        k = self.norm_and_rope(self.k_norm, self.k_proj(x), own)
        v = self.heads(self.v_proj(x))
        mixed: Tensor = self.o_proj(attend(self.layer, q, k, v).flatten(-2))
        return mixed

    def heads(self, x: Tensor) -> Tensor:
        """Split (..., heads * K) into (..., heads, K)."""
        return x.view(*x.shape[:-1], -1, self.head_dim)

    def norm_and_rope(
        self, norm: RMSNorm | None, x: Tensor, angles: tuple[Tensor, Tensor] | None
    ) -> Tensor:
        """Normalise and rotate queries or keys (..., heads * K): (..., heads, K)."""
        if norm is not None and not self.norms_heads:
            x = norm(x)
        x = self.heads(x)
        if norm is not None and self.norms_heads:
            x = norm(x)
        return x if angles is None else rotate(x, *angles)


class FeedForward(nn.Module):
    """Two projections with an activation between, gated where ``gated_mlp`` (arXiv:2002.05202)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        d, f, bias = config.hidden_size, config.intermediate_size, config.mlp_bias
        self.activate = _ACTIVATIONS[config.activation]
        self.gate_proj = nn.Linear(d, f, bias=bias) if config.gated_mlp else None
        self.up_proj = nn.Linear(d, f, bias=bias)
        self.down_proj = nn.Linear(f, d, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., D) to (..., D)."""
        if self.gate_proj is None:
            hidden = self.activate(self.up_proj(x))
        else:
            hidden = self.activate(self.gate_proj(x)) * self.up_proj(x)
        out: Tensor = self.down_proj(hidden)
        return out


class Block(nn.Module):
    """One transformer block; its norms are named as Hugging Face names those of each placement."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.placement = config.norm_placement
        if self.placement != "post":
            self.input_layernorm = block_norm(config)
        self.self_attn = Attention(config, layer)
        self.post_attention_layernorm = block_norm(config)
        if self.placement == "both":
            self.pre_feedforward_layernorm = block_norm(config)
        self.mlp = FeedForward(config)
        if self.placement != "pre":
            self.post_feedforward_layernorm = block_norm(config)

    def forward(self, x: Tensor, angles: Angles, attend: Attend) -> Tensor:
        """Map (..., D) to (..., D)."""
        out: Tensor
        if self.placement == "pre":
            x = x + self.self_attn(self.input_layernorm(x), angles, attend)
            out = x + self.mlp(self.post_attention_layernorm(x))
            return out
        both = self.placement == "both"
        mixed = self.self_attn(self.input_layernorm(x) if both else x, angles, attend)
        x = x + self.post_attention_layernorm(mixed)
        out = self.mlp(self.pre_feedforward_layernorm(x) if both else x)
        out = x + self.post_feedforward_layernorm(out)
        return out


class Backbone(nn.Module):
    """Embedding, blocks and final norm; named ``model`` inside a checkpoint."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.position_embeddings: nn.Embedding | None = None
        if config.position_embedding == "learned":
            positions = config.max_position_embeddings
            self.position_embeddings = nn.Embedding(positions, config.hidden_size)
        self.layers = nn.ModuleList(
            Block(config, layer) for layer in range(config.num_hidden_layers)
        )
        self.norm = block_norm(config)

    def embed(self, ids: Tensor, positions: Tensor) -> Tensor:
        """Return what the first block reads, (..., D), for tokens (...) and their positions."""
        x: Tensor = self.embed_tokens(ids)
        return x if self.position_embeddings is None else x + self.position_embeddings(positions)


class Transformer(nn.Module):
    """The language model; its state dict holds ``config.tensor_shapes()`` exactly.

    Args:
        config: Sizes and variants.
        context: Longest context that it is opened with, which chooses between the frequencies of
            "longrope"; None takes the model's own.
    """

    def __init__(self, config: ModelConfig, context: int | None = None) -> None:
        super().__init__()
        self.config = config
        self.tokens = config.vocab_size
        """Tokens that logits are computed for; fewer than the embedding's rows where it is padded.

        The rows beyond are never predicted and never a target, so they count in no softmax.
        """
        self.model = Backbone(config)
        self.rotary = Rotary(config, context)
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
            elif name.endswith(".bias"):
                nn.init.zeros_(parameter)
            else:
                nn.init.ones_(parameter)

    def forward(
        self, ids: Tensor, positions: Tensor | None = None, attend: Attend | None = None
    ) -> Tensor:
        """Return the hidden states (..., D) after the last norm for token ids (...).

        ``attend`` defaults to causal attention within each row, and within each layer's window.
        ``positions`` has the shape of ``ids`` and defaults to 0, 1, … along the last dimension.
        """
        if positions is None:
            positions = torch.arange(ids.shape[-1], device=ids.device)
        attend = attend or self.attention(ids.shape[-1], ids.device)
        x = self.model.embed(ids, positions)
        return self.forward_blocks(x, self.rotary(positions), attend)

    def forward_blocks(self, x: Tensor, angles: Angles, attend: Attend) -> Tensor:
        """Apply every block and the last norm to embeddings x (..., D): (..., D)."""
        for block in self.model.layers:
            x = block(x, angles, attend)
        hidden: Tensor = self.model.norm(x)
        return hidden

    def attention(self, length: int, device: torch.device) -> Attend:
        """Return the attention for sequences of ``length`` tokens."""
        return by_window(self.config, lambda window: attention_within(window, length, device))

    def logits(self, hidden: Tensor) -> Tensor:
        """Return the scores (..., V) of the next token for hidden states (..., D)."""
        return functional.linear(hidden, self.head_weight)
