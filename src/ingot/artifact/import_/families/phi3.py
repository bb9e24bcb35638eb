"""Phi-3 and Phi-4-mini: fused projections, rotation of a part of each head, longrope."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ingot.artifact.import_.families.foreign_model import (
    ForeignModel,
    begin,
    finish,
    plain_layers,
    plain_others,
    read_activation,
    read_sizes,
    read_windows,
    split_rows,
)
from ingot.artifact.import_.families.rope_fields import read_rope


def phi3(data: Mapping[str, Any], where: object) -> ForeignModel:
    """Read a ``Phi3ForCausalLM``."""
    fields = begin(data, where)
    # auto_map names Python files of the folder, older copies of this architecture; none is run.
    fields.ignore("auto_map", "embd_pdrop", "resid_pdrop")
    for name in ("attention_bias", "mlp_bias", "lm_head_bias"):
        fields.require(name, (False, None))
    for name in ("interpolate_factor", "full_attn_mod"):
        fields.require(name, (1, None))
    read_activation(fields)
    values = read_sizes(fields, eps=1e-5)
    context, layers = values["max_position_embeddings"], values["num_hidden_layers"]
    rope = read_rope(fields, context=context, older_longrope=True)
    window = fields.optional_integer("sliding_window")
    values |= {
        "rope": rope.rope,
        "local_rope": rope.local_rope,
        "partial_rotary_factor": rope.partial,
        "tie_word_embeddings": fields.flag("tie_word_embeddings", False),
        "qk_norm": "none",
        **read_windows(fields, layers, context, window, None),
    }
    config = finish(fields, values)
    key = config.num_key_value_heads * config.head_dim
    fused = split_rows(
        "self_attn.qkv_proj.weight",
        {
            "self_attn.q_proj.weight": config.num_attention_heads * config.head_dim,
            "self_attn.k_proj.weight": key,
            "self_attn.v_proj.weight": key,
        },
    ) | split_rows(
        "mlp.gate_up_proj.weight",
        {
            "mlp.gate_proj.weight": config.intermediate_size,
            "mlp.up_proj.weight": config.intermediate_size,
        },
    )
    return ForeignModel("phi3", config, plain_layers(config) | fused, plain_others(config))
