"""Rotary embedding in ``config.json``, in the spellings of transformers 5 and of before."""

from __future__ import annotations

from typing import Any

from ingot.model.config import ModelConfig
from ingot.model.rope import RopeConfig

_SCALING: dict[str, tuple[str, ...]] = {
    "default": (),
    "linear": ("factor",),
    "llama3": (
        "factor",
        "low_freq_factor",
        "high_freq_factor",
        "original_max_position_embeddings",
    ),
    "yarn": (
        "factor",
        "original_max_position_embeddings",
        "attention_factor",
        "beta_fast",
        "beta_slow",
        "truncate",
    ),
    "longrope": (
        "factor",
        "original_max_position_embeddings",
        "attention_factor",
        "short_factor",
        "long_factor",
    ),
}


def rope_keys(rope: RopeConfig, partial: float = 1.0) -> dict[str, Any]:
    """Return rotary embedding in the spelling of transformers 5 and in the older one.

    A reader of one does not look at the other.
    """
    parameters: dict[str, Any] = {"rope_theta": rope.rope_theta, "rope_type": rope.rope_type}
    for name in _SCALING[rope.rope_type]:
        value = getattr(rope, name)
        if value is not None:
            parameters[name] = list(value) if isinstance(value, tuple) else value
    keys: dict[str, Any] = {"rope_theta": rope.rope_theta}
    if rope.rope_type != "default":
        keys["rope_scaling"] = {k: v for k, v in parameters.items() if k != "rope_theta"}
        if rope.original_max_position_embeddings and rope.rope_type == "longrope":
            keys["original_max_position_embeddings"] = rope.original_max_position_embeddings
    if partial != 1.0:
        keys["partial_rotary_factor"] = parameters["partial_rotary_factor"] = partial
    return keys | {"rope_parameters": parameters}


def ropes_by_layer(config: ModelConfig) -> dict[str, Any]:
    """Return rotary embedding of both kinds of layers, in the spelling of transformers 5."""
    local = config.local_rope or config.rope
    return {
        "rope_parameters": {
            "full_attention": rope_keys(config.rope)["rope_parameters"],
            "sliding_attention": rope_keys(local)["rope_parameters"],
        }
    }
