"""OLMo 2 and 3: norms after attention and feed-forward layer, queries normalised as a whole."""

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


def olmo2(data: Mapping[str, Any], where: object) -> ForeignModel:
    """Read an ``Olmo2ForCausalLM``."""
    fields = begin(data, where)
    values = _common(fields)
    rope = read_rope(fields, context=values["max_position_embeddings"])
    values |= {"rope": rope.rope, "local_rope": rope.local_rope}
    return _made("olmo2", fields, values | {"partial_rotary_factor": rope.partial})


def olmo3(data: Mapping[str, Any], where: object) -> ForeignModel:
    """Read an ``Olmo3ForCausalLM``: three of four layers have a window and no scaled rotation."""
    fields = begin(data, where)
    values = _common(fields)
    context, layers = values["max_position_embeddings"], values["num_hidden_layers"]
    check_layers(fields, layers)
    theta = data.get("rope_theta")
    # Layers with a window rotate by the same base, whichever spelling gives it.
    local = float(theta) if isinstance(theta, int | float) else 10_000.0
    rope = read_rope(fields, context=context, local_theta=local)
    kinds = [
        "full_attention" if (layer + 1) % 4 == 0 else "sliding_attention" for layer in range(layers)
    ]
    window = fields.optional_integer("sliding_window", 4096)
    own = rope.local_rope is not None
    values |= read_windows(fields, layers, context, window, kinds, rotate_otherwise=own)
    values |= {"rope": rope.rope, "partial_rotary_factor": rope.partial}
    if "sliding_window" in values:
        values["local_rope"] = rope.local_rope
    return _made("olmo3", fields, values)


def _common(fields: ConfigFields) -> dict[str, Any]:
    read_activation(fields)
    return read_sizes(fields, eps=1e-5) | {
        "tie_word_embeddings": fields.flag("tie_word_embeddings", False),
        "attention_bias": "all" if fields.flag("attention_bias", False) else "none",
        "qk_norm": "projection",
        "norm_placement": "post",
    }


def _made(family: str, fields: ConfigFields, values: Mapping[str, Any]) -> ForeignModel:
    config = finish(fields, values)
    return ForeignModel(family, config, plain_layers(config), plain_others(config))
