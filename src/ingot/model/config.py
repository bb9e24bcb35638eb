"""Model configuration: sizes, and the parameters, FLOPs and tensors that follow from them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ingot.errors import ArtifactError, RecipeError

ARCHITECTURE = "Qwen3ForCausalLM"
# Far above any real model; a hostile file cannot ask for a huge allocation.
_MAX_DIMENSION = 1 << 24
# Both are computed with as float32.
_MAX_ROPE_THETA = 1e12
_MIN_EPS = 1e-12


@dataclass(frozen=True)
class ModelConfig:
    """Sizes of a Qwen3 dense transformer, named as Hugging Face names them.

    Source: Qwen3 Technical Report, arXiv:2505.09388.
    """

    vocab_size: int
    """Rows of the embedding table."""
    hidden_size: int
    """Width of the residual stream (D in shape suffixes)."""
    intermediate_size: int
    """Width of the SwiGLU feed-forward layer (F)."""
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
    rope_theta: float = 10_000.0
    """Base wavelength of rotary embedding."""
    rms_norm_eps: float = 1e-6
    """Added to the mean square before the root in RMSNorm."""
    tie_word_embeddings: bool = True
    """Whether the output head is the embedding table."""
    sliding_window: int | None = None
    """Tokens that each token attends to in every layer, itself included; None attends to all."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.type == "int" and not 1 <= value <= _MAX_DIMENSION:
                raise RecipeError(
                    f"{value} is out of range",
                    where=f"model.{field.name}",
                    fix=f"give a whole number from 1 to {_MAX_DIMENSION}",
                )
        if self.num_attention_heads % self.num_key_value_heads:
            raise RecipeError(
                f"{self.num_attention_heads} query heads cannot share "
                f"{self.num_key_value_heads} key heads evenly",
                where="model.num_key_value_heads",
                fix="choose a divisor of num_attention_heads",
            )
        if self.head_dim % 2:
            raise RecipeError(
                f"{self.head_dim} is odd", where="model.head_dim", fix="choose an even width"
            )
        if self.sliding_window is not None and not 1 <= self.sliding_window <= _MAX_DIMENSION:
            raise RecipeError(
                f"{self.sliding_window} is out of range",
                where="model.sliding_window",
                fix=f"give a whole number from 1 to {_MAX_DIMENSION}, or leave it out",
            )
        if not (1 < self.rope_theta <= _MAX_ROPE_THETA):
            raise RecipeError(
                f"must be above 1 and at most {_MAX_ROPE_THETA:g}", where="model.rope_theta"
            )
        if not (_MIN_EPS <= self.rms_norm_eps < 1):
            raise RecipeError(
                f"must be at least {_MIN_EPS:g} and below 1", where="model.rms_norm_eps"
            )

    @property
    def block_parameters(self) -> int:
        """Parameters of all transformer blocks, with norms, without embeddings."""
        attention = (
            self.hidden_size
            * self.head_dim
            * (2 * self.num_attention_heads + 2 * self.num_key_value_heads)
        )
        norms = 2 * self.hidden_size + 2 * self.head_dim
        feed_forward = 3 * self.hidden_size * self.intermediate_size
        return self.num_hidden_layers * (attention + feed_forward + norms)

    @property
    def parameters(self) -> int:
        """All stored parameters."""
        tables = 1 if self.tie_word_embeddings else 2
        embedding = self.vocab_size * self.hidden_size
        return self.block_parameters + tables * embedding + self.hidden_size

    def forward_flops(self, context: int) -> int:
        """FLOPs of one token's forward pass, with ``context`` tokens before and of itself.

        It attends to all of them, or to as many as the sliding window holds.
        A multiply-add counts as two. Matrix products only, as is usual
        (PaLM, arXiv:2204.02311, appendix B); norms and activations are left out.
        """
        norms = self.num_hidden_layers * (2 * self.hidden_size + 2 * self.head_dim)
        matrices = self.block_parameters - norms + self.vocab_size * self.hidden_size
        seen = min(context, self.sliding_window or context)
        attention = 2 * self.num_hidden_layers * self.num_attention_heads * self.head_dim * seen
        return 2 * (matrices + attention)

    def training_flops(self, context: int) -> float:
        """FLOPs of one token's forward and backward pass in causal windows of ``context`` tokens.

        The backward pass costs twice the forward pass; a causal token attends
        to half the window on average.
        """
        return 3.0 * self.forward_flops((context + 1) // 2)

    def kv_bytes(self, bytes_per_value: int = 2) -> int:
        """Bytes of one token of context in the key-value cache."""
        width = self.num_key_value_heads * self.head_dim
        return 2 * self.num_hidden_layers * width * bytes_per_value

    def tensor_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every tensor of a checkpoint by its Hugging Face name, in order."""
        d, f, k = self.hidden_size, self.intermediate_size, self.head_dim
        query, key = self.num_attention_heads * k, self.num_key_value_heads * k
        shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (self.vocab_size, d)}
        for layer in range(self.num_hidden_layers):
            prefix = f"model.layers.{layer}."
            shapes |= {
                f"{prefix}input_layernorm.weight": (d,),
                f"{prefix}self_attn.q_proj.weight": (query, d),
                f"{prefix}self_attn.k_proj.weight": (key, d),
                f"{prefix}self_attn.v_proj.weight": (key, d),
                f"{prefix}self_attn.o_proj.weight": (d, query),
                f"{prefix}self_attn.q_norm.weight": (k,),
                f"{prefix}self_attn.k_norm.weight": (k,),
                f"{prefix}post_attention_layernorm.weight": (d,),
                f"{prefix}mlp.gate_proj.weight": (f, d),
                f"{prefix}mlp.up_proj.weight": (f, d),
                f"{prefix}mlp.down_proj.weight": (d, f),
            }
        shapes["model.norm.weight"] = (d,)
        if not self.tie_word_embeddings:
            shapes["lm_head.weight"] = (self.vocab_size, d)
        return shapes

    def to_hf(self, *, eos_token_id: int, dtype: str) -> dict[str, Any]:
        """Return the ``config.json`` that transformers, vLLM, SGLang and llama.cpp read."""
        sizes = dataclasses.asdict(self)
        window = sizes.pop("sliding_window")
        return {
            "architectures": [ARCHITECTURE],
            "model_type": "qwen3",
            **sizes,
            "hidden_act": "silu",
            "attention_bias": False,
            "attention_dropout": 0.0,
            "use_sliding_window": window is not None,
            **({} if window is None else {"sliding_window": window, "max_window_layers": 0}),
            "bos_token_id": eos_token_id,
            "eos_token_id": eos_token_id,
            "torch_dtype": dtype,
        }

    @classmethod
    def from_hf(cls, data: Mapping[str, Any], *, where: object = "config.json") -> ModelConfig:
        """Parse an untrusted ``config.json``; every field is checked.

        Raises:
            ArtifactError: another architecture, a missing field, or a wrong type or size.
        """
        if data.get("architectures") != [ARCHITECTURE]:
            raise ArtifactError(
                f"architecture {_short(data.get('architectures'))} is not supported",
                where=where,
                fix=f"use a {ARCHITECTURE} model",
            )
        kinds: dict[str, tuple[type, ...]] = {"int": (int,), "float": (int, float), "bool": (bool,)}
        values: dict[str, Any] = {}
        for field in dataclasses.fields(cls):
            if field.name == "sliding_window":
                continue
            value = data.get(field.name, field.default)
            wrong_bool = isinstance(value, bool) and field.type != "bool"
            if wrong_bool or not isinstance(value, kinds[str(field.type)]):
                raise ArtifactError(
                    f"field {field.name!r} is missing or not of type {field.type}", where=where
                )
            values[field.name] = value if field.type != "float" else _as_float(value)
        try:
            config = cls(**values)  # its sizes are in range from here on
            return dataclasses.replace(
                config, sliding_window=_window(data, config.num_hidden_layers, where)
            )
        except RecipeError as error:
            raise ArtifactError(error.what, where=f"{where} ({error.where})") from error


def _as_float(value: Any) -> float:
    """Return a number of JSON as a float; one that is too large for any becomes infinite."""
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _short(value: object) -> str:
    """Return what a file says where something else is expected, for an error of one line."""
    return f"{str(value)[:60]!r}" if isinstance(value, str) else repr(value)[:60]


def _window(data: Mapping[str, Any], layers: int, where: object) -> int | None:
    """Return the sliding window of all layers in a ``config.json``, None if there is none."""
    if not data.get("use_sliding_window"):
        return None
    window = data.get("sliding_window")
    if window is None:
        return None
    if not isinstance(window, int) or isinstance(window, bool):
        raise ArtifactError(f"sliding_window {_short(window)} is not a whole number", where=where)
    first = data.get("max_window_layers", layers)  # layers before it attend to all
    if not isinstance(first, int):
        raise ArtifactError(f"max_window_layers {_short(first)} is not a whole number", where=where)
    kinds = data.get("layer_types")
    if isinstance(kinds, list):
        every = all(kind == "sliding_attention" for kind in kinds)
        none = all(kind == "full_attention" for kind in kinds)
    else:
        every, none = first <= 0, first >= layers
    if none:
        return None
    if not every:
        raise ArtifactError(
            "some layers have a sliding window and others none, which is not supported",
            where=where,
            fix="use a model whose layers are alike",
        )
    return window
