"""Llama 2 and 3, SmolLM2 (which is a Llama), Mistral and SmolLM3."""

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


def llama(data: Mapping[str, Any], where: object) -> ForeignModel:
    """Read a ``LlamaForCausalLM``."""
    fields = begin(data, where)
    # Splits of matrix products and marks of other programs; the products stay the same.
    fields.ignore("pretraining_tp", "is_llama_config")
    fields.require("rope_interleaved", (False, None))
    values = _common(fields, {})
    return _made("llama", fields, values)


def mistral(data: Mapping[str, Any], where: object) -> ForeignModel:
    """Read a ``MistralForCausalLM``: Llama with a sliding window in every layer."""
    fields = begin(data, where)
    window = fields.optional_integer("sliding_window", 4096)
    values = _common(fields, {})
    context, layers = values["max_position_embeddings"], values["num_hidden_layers"]
    values |= read_windows(fields, layers, context, window, None)
    return _made("mistral", fields, values)


def smollm3(data: Mapping[str, Any], where: object) -> ForeignModel:
    """Read a ``SmolLM3ForCausalLM``: Llama whose every fourth layer does not rotate."""
    fields = begin(data, where)
    fields.ignore("pretraining_tp", "max_window_layers")
    values = _common(fields, {"tie_word_embeddings": True, "rope_theta": 2_000_000.0})
    layers = values["num_hidden_layers"]
    check_layers(fields, layers)
    interval = fields.integer("no_rope_layer_interval", 4)
    rotates = fields.integers("no_rope_layers")  # 1 where a layer rotates, against its name
    if rotates is None:
        if interval < 1:
            raise fields.wrong("no_rope_layer_interval", f"{interval} is below 1")
        rotates = [int((layer + 1) % interval != 0) for layer in range(layers)]
    if len(rotates) != layers or not {0, 1}.issuperset(rotates):
        raise fields.wrong("no_rope_layers", f"must be {layers} times 0 or 1")
    values["no_rope_layers"] = tuple(layer for layer in range(layers) if not rotates[layer])
    used, window = (
        fields.flag("use_sliding_window", False),
        fields.optional_integer("sliding_window"),
    )
    kinds = [
        "sliding_attention"
        if used and window is not None and not rotates[layer]
        else "full_attention"
        for layer in range(layers)
    ]
    context = values["max_position_embeddings"]
    values |= read_windows(fields, layers, context, window if used else None, kinds)
    return _made("smollm3", fields, values)


def _common(fields: ConfigFields, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Take what the three share."""
    read_activation(fields)
    values = read_sizes(fields, eps=1e-6)
    rope = read_rope(
        fields,
        context=values["max_position_embeddings"],
        theta=defaults.get("rope_theta", 10_000.0),
    )
    tied = fields.flag("tie_word_embeddings", defaults.get("tie_word_embeddings", False))
    bias = fields.flag("attention_bias", False)
    return values | {
        "rope": rope.rope,
        "local_rope": rope.local_rope,
        "partial_rotary_factor": rope.partial,
        "tie_word_embeddings": tied,
        "attention_bias": "all" if bias else "none",
        "mlp_bias": fields.flag("mlp_bias", False),
        "qk_norm": "none",
    }


def _made(family: str, fields: ConfigFields, values: Mapping[str, Any]) -> ForeignModel:
    config = finish(fields, values)
    return ForeignModel(family, config, plain_layers(config), plain_others(config))
