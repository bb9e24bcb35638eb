"""Gemma 3, text: norms of 1 + w, a scaled embedding, layers with and without a window."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ingot.artifact.import_.families.foreign_model import (
    EMBEDDING,
    NORM,
    ForeignModel,
    begin,
    check_layers,
    finish,
    plain_layers,
    plain_others,
    read_sizes,
    read_windows,
    scaled,
)
from ingot.artifact.import_.families.rope_fields import read_rope


def gemma3(data: Mapping[str, Any], where: object) -> ForeignModel:
    """Read a ``Gemma3ForCausalLM``."""
    fields = begin(data, where)
    for name in ("attn_logit_softcapping", "final_logit_softcapping"):
        fields.require(name, (None,))
    fields.require("use_bidirectional_attention", (False, None))
    activations = ("gelu_pytorch_tanh",)
    fields.require("hidden_act", (*activations, None))
    fields.require("hidden_activation", activations, default="gelu_pytorch_tanh")
    values = read_sizes(fields, eps=1e-6, head_dim=256)
    context, layers = values["max_position_embeddings"], values["num_hidden_layers"]
    check_layers(fields, layers)
    rope = read_rope(
        fields,
        context=context,
        theta=1_000_000.0,
        local_theta=10_000.0,
        local_key="rope_local_base_freq",
    )
    pattern = fields.integer("sliding_window_pattern", fields.integer("_sliding_window_pattern", 6))
    if pattern < 1:
        raise fields.wrong("sliding_window_pattern", f"{pattern} is below 1")
    kinds = [
        "sliding_attention" if (layer + 1) % pattern else "full_attention"
        for layer in range(layers)
    ]
    window = fields.optional_integer("sliding_window", 4096)
    own = rope.local_rope is not None
    values |= read_windows(fields, layers, context, window, kinds, rotate_otherwise=own)
    if "sliding_window" in values:
        values["local_rope"] = rope.local_rope
    scalar = fields.number("query_pre_attn_scalar", 256.0)
    if not 0 < scalar < math.inf:
        raise fields.wrong("query_pre_attn_scalar", f"must be above 0, got {scalar:g}")
    values |= {
        "rope": rope.rope,
        "partial_rotary_factor": rope.partial,
        "tie_word_embeddings": fields.flag("tie_word_embeddings", True),
        "attention_bias": "all" if fields.flag("attention_bias", False) else "none",
        "qk_norm": "head",
        "norm_placement": "both",
        "activation": "gelu_tanh",
    }
    config = finish(fields, values)
    root = math.sqrt(config.hidden_size)
    others = plain_others(config)
    others[EMBEDDING] = replace(others[EMBEDDING], times=root)
    # Where the embedding is also the head, the last norm undoes its scale.
    others[NORM] = replace(
        others[NORM], plus=1.0, times=1 / root if config.tie_word_embeddings else 1.0
    )
    parts = {
        name: replace(part, plus=1.0) if "norm" in name else part
        for name, part in plain_layers(config).items()
    }
    # Ours divides scores by the root of the head's width.
    layers_ = scaled(parts, {"self_attn.q_norm": math.sqrt(config.head_dim / scalar)})
    return ForeignModel("gemma3_text", config, layers_, others)
