"""Qwen2, Qwen2.5 (which is a Qwen2) and Qwen3, dense."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ingot.artifact.import_.config_fields import ConfigFields
from ingot.artifact.import_.families.foreign_model import (
    ForeignModel,
    begin,
    check_layers,
    finish,
    plain_layers,
    plain_others,
    read_activation,
    read_sizes,
    read_windows,
)
from ingot.artifact.import_.families.rope_fields import read_rope


def qwen2(data: Mapping[str, Any], where: object) -> ForeignModel:
    """Read a ``Qwen2ForCausalLM``: biases on queries, keys and values, no norm of them."""
    fields = begin(data, where)
    fields.require("use_mrope", (False, None))
    values = _common(fields, head_dim=None)
    return _made("qwen2", fields, values | {"attention_bias": "qkv", "qk_norm": "none"})


def qwen3(data: Mapping[str, Any], where: object) -> ForeignModel:
    """Read a ``Qwen3ForCausalLM``."""
    fields = begin(data, where)
    bias = fields.flag("attention_bias", False)
    values = _common(fields, head_dim=128)
    return _made("qwen3", fields, values | {"attention_bias": "all" if bias else "none"})


def _common(fields: ConfigFields, *, head_dim: int | None) -> dict[str, Any]:
    read_activation(fields)
    values = read_sizes(fields, eps=1e-6, head_dim=head_dim)
    context, layers = values["max_position_embeddings"], values["num_hidden_layers"]
    check_layers(fields, layers)
    rope = read_rope(fields, context=context)
    used = fields.flag("use_sliding_window", False)
    window = fields.optional_integer("sliding_window", 4096)
    # Qwen's configs give a window and leave it unused; layers before the first one attend to all.
    first = fields.integer("max_window_layers", 28) if used else layers
    if not used:
        fields.ignore("max_window_layers")
    kinds = [
        "sliding_attention" if used and window is not None and layer >= first else "full_attention"
        for layer in range(layers)
    ]
    return values | {
        "rope": rope.rope,
        "local_rope": rope.local_rope,
        "partial_rotary_factor": rope.partial,
        "tie_word_embeddings": fields.flag("tie_word_embeddings", False),
        **read_windows(fields, layers, context, window if used else None, kinds),
    }


def _made(family: str, fields: ConfigFields, values: Mapping[str, Any]) -> ForeignModel:
    config = finish(fields, values)
    return ForeignModel(family, config, plain_layers(config), plain_others(config))
