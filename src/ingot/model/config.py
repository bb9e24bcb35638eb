"""Model configuration: sizes and variants, and the parameters, FLOPs and tensors that follow."""

from __future__ import annotations

import bisect
import dataclasses
import math
from dataclasses import dataclass

from ingot.model.config_checks import check
from ingot.model.rope import PLAIN_ROPE, RopeConfig
from ingot.model.variants import (
    Activation,
    AttentionBias,
    Norm,
    NormPlacement,
    PositionEmbedding,
    QkNorm,
)


@dataclass(frozen=True)
class ModelConfig:
    """Sizes and variants of a dense transformer, named as Hugging Face names them.

    The defaults are Qwen3 (arXiv:2505.09388). What a family multiplies by a constant (Gemma's
    1 + w, Granite's multipliers) is part of the weights, not of this.

    Raises:
        RecipeError: a value out of range, or values that contradict each other.
    """

    vocab_size: int
    """Rows of the embedding table."""
    hidden_size: int
    """Width of the residual stream (D in shape suffixes)."""
    intermediate_size: int
    """Width of the feed-forward layer (F)."""
    num_hidden_layers: int
    """Number of transformer blocks."""
    num_attention_heads: int
    """Query heads (H)."""
    num_key_value_heads: int
    """Key and value heads, shared by groups of query heads (G)."""
    head_dim: int
    """Width of one head (K); even, because rotary embedding rotates pairs."""
    max_position_embeddings: int
    """Longest context in tokens."""
    rope: RopeConfig = PLAIN_ROPE
    """Frequencies of rotary embedding."""
    rms_norm_eps: float = 1e-6
    """Added to the mean square, or to the variance, before the root in every norm."""
    tie_word_embeddings: bool = True
    """Whether the output head is the embedding table."""
    sliding_window: int | None = None
    """Tokens that each token attends to, itself included; None attends to all."""
    full_attention_layers: tuple[int, ...] = ()
    """Layers, in ascending order, that attend to all though there is a sliding window."""
    local_rope: RopeConfig | None = None
    """Frequencies in the layers with a sliding window; None takes ``rope`` there too."""
    partial_rotary_factor: float = 1.0
    """Fraction of each head's dimensions that are rotated: its first ones."""
    no_rope_layers: tuple[int, ...] = ()
    """Layers, in ascending order, whose queries and keys are not rotated."""
    position_embedding: PositionEmbedding = "rotary"
    """How positions enter: rotated queries and keys, or a learned vector for each position."""
    qk_norm: QkNorm = "head"
    """RMSNorm of queries and keys before rotation: each head alone, all heads as one, or none."""
    attention_bias: AttentionBias = "none"
    """Which projections of attention have a bias: none, those of queries, keys and values, all."""
    mlp_bias: bool = False
    """Whether the projections of the feed-forward layer have biases."""
    norm: Norm = "rms"
    """RMSNorm, or LayerNorm with weight and bias."""
    norm_placement: NormPlacement = "pre"
    """Norm before attention and feed-forward layer, after each (before the sum), or both."""
    activation: Activation = "silu"
    """Activation of the feed-forward layer."""
    gated_mlp: bool = True
    """Whether the activation is of a gate that multiplies the other projection (SwiGLU, GeGLU)."""

    def __post_init__(self) -> None:
        check(self)

    @property
    def rotary_dim(self) -> int:
        """Rotated dimensions of each head; 0 where positions are learned vectors."""
        if self.position_embedding == "learned":
            return 0
        return int(self.head_dim * self.partial_rotary_factor)

    def window_of(self, layer: int) -> int | None:
        """Return the tokens that each token attends to in a layer, None for all."""
        return None if _holds(self.full_attention_layers, layer) else self.sliding_window

    def rope_of(self, layer: int) -> RopeConfig | None:
        """Return the frequencies of a layer, None where it does not rotate."""
        if self.position_embedding == "learned" or _holds(self.no_rope_layers, layer):
            return None
        if self.local_rope is not None and self.window_of(layer) is not None:
            return self.local_rope
        return self.rope

    @property
    def ropes(self) -> tuple[RopeConfig, ...]:
        """The frequencies that its layers use, each once."""
        used = map(self.rope_of, range(self.num_hidden_layers))
        return tuple(dict.fromkeys(rope for rope in used if rope is not None))

    @property
    def variants(self) -> dict[str, object]:
        """What differs from Qwen3's dense architecture, by name; empty where nothing does.

        One sliding window for all layers is part of that architecture.
        """
        plain = {field.name: field.default for field in dataclasses.fields(self)[8:]}
        for sizes in ("rope", "rms_norm_eps", "tie_word_embeddings", "sliding_window"):
            del plain[sizes]
        found = {name: getattr(self, name) for name in plain}
        if self.rope.rope_type != "default":
            found["rope_type"] = self.rope.rope_type
        return {name: value for name, value in found.items() if value != plain.get(name)}

    @property
    def block_parameters(self) -> int:
        """Parameters of all transformer blocks, with norms, without embeddings."""
        return self.num_hidden_layers * sum(map(math.prod, self.layer_shapes().values()))

    @property
    def parameters(self) -> int:
        """All stored parameters."""
        return self.block_parameters + sum(
            math.prod(shape) for shape in (self._first_shapes() | self._last_shapes()).values()
        )

    def forward_flops(self, context: int) -> int:
        """FLOPs of one token's forward pass, with ``context`` tokens before and of itself.

        It attends to all of them, or in each layer to as many as its sliding window holds.
        A multiply-add counts as two. Matrix products only, as is usual
        (PaLM, arXiv:2204.02311, appendix B); norms, biases and activations are left out.
        """
        block = sum(math.prod(shape) for shape in self.layer_shapes().values() if len(shape) == 2)
        matrices = self.num_hidden_layers * block + self.vocab_size * self.hidden_size
        full = len(self.full_attention_layers)
        near = min(context, self.sliding_window or context)
        seen = full * context + (self.num_hidden_layers - full) * near
        return 2 * (matrices + 2 * self.num_attention_heads * self.head_dim * seen)

    def training_flops(self, context: int) -> float:
        """FLOPs of one token's forward and backward pass in causal windows of ``context`` tokens.

        The backward pass costs twice the forward pass; a causal token attends
        to half the window on average.
        """
        return 3.0 * self.forward_flops((context + 1) // 2)

    def kv_bytes(self, bytes_per_value: int = 2) -> int:
        """Bytes of one token of context in the key-value cache.

        A layer with a sliding window keeps as much as any other.
        """
        width = self.num_key_value_heads * self.head_dim
        return 2 * self.num_hidden_layers * width * bytes_per_value

    def tensor_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every tensor of a checkpoint by its Hugging Face name, in order."""
        shapes = self._first_shapes()
        block = self.layer_shapes()
        for layer in range(self.num_hidden_layers):
            shapes |= {f"model.layers.{layer}.{name}": shape for name, shape in block.items()}
        return shapes | self._last_shapes()

    def layer_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every tensor of one block, by its name within the block, in order."""
        d, f = self.hidden_size, self.intermediate_size
        query = self.num_attention_heads * self.head_dim
        key = self.num_key_value_heads * self.head_dim
        placement = self.norm_placement
        shapes: dict[str, tuple[int, ...]] = {}
        if placement != "post":
            shapes |= self._norm_shapes("input_layernorm")
        qkv, output = self.attention_bias != "none", self.attention_bias == "all"
        shapes |= _linear("self_attn.q_proj", query, d, bias=qkv)
        shapes |= _linear("self_attn.k_proj", key, d, bias=qkv)
        shapes |= _linear("self_attn.v_proj", key, d, bias=qkv)
        shapes |= _linear("self_attn.o_proj", d, query, bias=output)
        if self.qk_norm != "none":
            head = self.qk_norm == "head"
            shapes["self_attn.q_norm.weight"] = (self.head_dim if head else query,)
            shapes["self_attn.k_norm.weight"] = (self.head_dim if head else key,)
        shapes |= self._norm_shapes("post_attention_layernorm")  # "pre": of the feed-forward layer
        if placement == "both":
            shapes |= self._norm_shapes("pre_feedforward_layernorm")
        if self.gated_mlp:
            shapes |= _linear("mlp.gate_proj", f, d, bias=self.mlp_bias)
        shapes |= _linear("mlp.up_proj", f, d, bias=self.mlp_bias)
        shapes |= _linear("mlp.down_proj", d, f, bias=self.mlp_bias)
        if placement != "pre":
            shapes |= self._norm_shapes("post_feedforward_layernorm")
        return shapes

    def _first_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of what comes before the blocks."""
        d = self.hidden_size
        shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (self.vocab_size, d)}
        if self.position_embedding == "learned":
            shapes["model.position_embeddings.weight"] = (self.max_position_embeddings, d)
        return shapes

    def _last_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of what comes after the blocks."""
        shapes = self._norm_shapes("model.norm")
        if not self.tie_word_embeddings:
            shapes["lm_head.weight"] = (self.vocab_size, self.hidden_size)
        return shapes

    def _norm_shapes(self, name: str) -> dict[str, tuple[int, ...]]:
        """Shapes of one norm over the residual stream."""
        shapes: dict[str, tuple[int, ...]] = {f"{name}.weight": (self.hidden_size,)}
        if self.norm == "layer":
            shapes[f"{name}.bias"] = (self.hidden_size,)
        return shapes


def _linear(name: str, outputs: int, inputs: int, *, bias: bool) -> dict[str, tuple[int, ...]]:
    """Shapes of one projection."""
    shapes: dict[str, tuple[int, ...]] = {f"{name}.weight": (outputs, inputs)}
    if bias:
        shapes[f"{name}.bias"] = (outputs,)
    return shapes


def _holds(layers: tuple[int, ...], layer: int) -> bool:
    """Tell whether a layer is among others in ascending order."""
    index = bisect.bisect_left(layers, layer)
    return index < len(layers) and layers[index] == layer
