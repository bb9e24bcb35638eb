"""Granite 3 and 4, dense: Llama with four multipliers, which become part of the weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ingot.artifact.import_.config_fields import ConfigFields
from ingot.artifact.import_.families.foreign_model import (
    EMBEDDING,
    NORM,
    ForeignModel,
    begin,
    check_layers,
    finish,
    plain_layers,
    plain_others,
    read_activation,
    read_sizes,
    scaled,
    split_rows,
)
from ingot.artifact.import_.families.rope_fields import read_rope
from ingot.artifact.import_.tensor_parts import TensorPart
from ingot.model import ModelConfig

_MAMBA = (
    "mamba_chunk_size",
    "mamba_conv_bias",
    "mamba_d_conv",
    "mamba_d_head",
    "mamba_d_state",
    "mamba_expand",
    "mamba_n_groups",
    "mamba_n_heads",
    "mamba_proj_bias",
    "time_step_limit",
)
"""Sizes of layers that a model of attention alone does not have."""
_EXPERTS = ("num_experts_per_tok", "output_router_logits", "router_aux_loss_coef")


def granite(data: Mapping[str, Any], where: object) -> ForeignModel:
    """Read a ``GraniteForCausalLM``."""
    fields = begin(data, where)
    values = _common(fields) | {"mlp_bias": fields.flag("mlp_bias", False)}
    multipliers = _multipliers(fields)
    config = finish(fields, values)
    return _folded("granite", config, plain_layers(config), multipliers)


def granite_hybrid(data: Mapping[str, Any], where: object) -> ForeignModel:
    """Read a ``GraniteMoeHybridForCausalLM`` that has neither Mamba layers nor experts."""
    fields = begin(data, where)
    fields.ignore("init_method", *_MAMBA, *_EXPERTS)
    fields.require("normalization_function", ("rmsnorm", None))
    fields.require("num_local_experts", (0,), default=8)
    values = _common(fields)
    layers = values["num_hidden_layers"]
    check_layers(fields, layers)
    values["intermediate_size"] = fields.integer("shared_intermediate_size", 1024)
    kinds = fields.texts("layer_types") or ["mamba"] * layers
    if len(kinds) != layers:
        raise fields.wrong("layer_types", f"has {len(kinds)} entries for {layers} layers")
    for kind in kinds:
        if kind not in ("attention", "full_attention"):
            raise fields.wrong("layer_types", f"holds {kind[:40]!r}, which is not supported")
    if fields.require("position_embedding_type", ("rope", "nope", None)) != "rope":
        values["no_rope_layers"] = tuple(range(layers))
    multipliers = _multipliers(fields)
    config = finish(fields, values)
    width = config.intermediate_size
    gates = split_rows(
        "shared_mlp.input_linear.weight",
        {"mlp.gate_proj.weight": width, "mlp.up_proj.weight": width},
    )
    down = {"mlp.down_proj.weight": TensorPart("shared_mlp.output_linear.weight")}
    return _folded("granitemoehybrid", config, plain_layers(config) | gates | down, multipliers)


def _common(fields: ConfigFields) -> dict[str, Any]:
    read_activation(fields)
    values = read_sizes(fields, eps=1e-6)
    rope = read_rope(fields, context=values["max_position_embeddings"])
    return values | {
        "rope": rope.rope,
        "local_rope": rope.local_rope,
        "partial_rotary_factor": rope.partial,
        "tie_word_embeddings": fields.flag("tie_word_embeddings", False),
        "attention_bias": "all" if fields.flag("attention_bias", False) else "none",
        "qk_norm": "none",
    }


def _multipliers(fields: ConfigFields) -> dict[str, float]:
    """Take the four multipliers; each must be a positive number."""
    found = {}
    for name in (
        "embedding_multiplier",
        "logits_scaling",
        "residual_multiplier",
        "attention_multiplier",
    ):
        found[name] = fields.number(name, 1.0)
        if not 0 < found[name] < math.inf:
            raise fields.wrong(name, f"must be above 0, got {found[name]:g}")
    return found


def _folded(
    family: str, config: ModelConfig, layers: dict[str, TensorPart], by: Mapping[str, float]
) -> ForeignModel:
    """Return the model with its multipliers in the weights.

    Where the embedding is also the head, the last norm undoes what the embedding is multiplied by.
    """
    embedding, residual = by["embedding_multiplier"], by["residual_multiplier"]
    tied = embedding if config.tie_word_embeddings else 1.0
    layers = scaled(
        layers,
        {
            # Ours divides scores by the root of the head's width.
            "self_attn.q_proj": by["attention_multiplier"] * math.sqrt(config.head_dim),
            "self_attn.o_proj": residual,
            "mlp.down_proj": residual,
        },
    )
    others = scaled(
        plain_others(config),
        {
            EMBEDDING.rpartition(".")[0]: embedding,
            NORM.rpartition(".")[0]: 1 / tied / by["logits_scaling"],
        },
    )
    return ForeignModel(family, config, layers, others)
