"""Checks of a model configuration: each size in its range, no two settings in contradiction."""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING, get_args

from ingot.errors import RecipeError
from ingot.model import variants
from ingot.model.rope import PLAIN_ROPE

if TYPE_CHECKING:
    from ingot.model.config import ModelConfig

# Far above any real model; a hostile file cannot ask for a huge allocation.
_MAX_DIMENSION = 1 << 24
_MIN_EPS = 1e-12  # computed with as float32

_CHOICES = {
    "qk_norm": get_args(variants.QkNorm),
    "attention_bias": get_args(variants.AttentionBias),
    "norm": get_args(variants.Norm),
    "norm_placement": get_args(variants.NormPlacement),
    "activation": get_args(variants.Activation),
    "position_embedding": get_args(variants.PositionEmbedding),
}


def check(config: ModelConfig) -> None:
    """Refuse a configuration that makes no model.

    Raises:
        RecipeError: naming the field.
    """
    _check_sizes(config)
    _check_choices(config)
    _check_windows(config)
    _check_positions(config)


def _check_sizes(config: ModelConfig) -> None:
    """Refuse sizes out of range, and heads that cannot be shared."""
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.type == "int" and not 1 <= value <= _MAX_DIMENSION:
            raise _wrong(
                field.name,
                f"{value} is out of range",
                f"give a whole number from 1 to {_MAX_DIMENSION}",
            )
    if config.num_attention_heads % config.num_key_value_heads:
        raise _wrong(
            "num_key_value_heads",
            f"{config.num_attention_heads} query heads cannot share "
            f"{config.num_key_value_heads} key heads evenly",
            "choose a divisor of num_attention_heads",
        )
    if config.head_dim % 2:
        raise _wrong("head_dim", f"{config.head_dim} is odd", "choose an even width")
    if not _MIN_EPS <= config.rms_norm_eps < 1:
        raise _wrong("rms_norm_eps", f"must be at least {_MIN_EPS:g} and below 1")


def _check_choices(config: ModelConfig) -> None:
    """Refuse variants that do not exist, and pairs of them that no model has."""
    for name, choices in _CHOICES.items():
        if getattr(config, name) not in choices:
            raise _wrong(name, f"must be one of {', '.join(choices)}")
    if config.norm == "layer" and config.qk_norm != "none":
        raise _wrong("qk_norm", "is RMSNorm, which does not go with LayerNorm", 'set it to "none"')


def _check_windows(config: ModelConfig) -> None:
    """Refuse a window out of range, and layers that are set apart from none."""
    window, full = config.sliding_window, config.full_attention_layers
    if window is not None and not 1 <= window <= _MAX_DIMENSION:
        raise _wrong(
            "sliding_window",
            f"{window} is out of range",
            f"give a whole number from 1 to {_MAX_DIMENSION}, or leave it out",
        )
    _check_layers(config, "full_attention_layers")
    if full and window is None:
        raise _wrong("full_attention_layers", "has no meaning without sliding_window")
    if len(full) == config.num_hidden_layers:
        raise _wrong("full_attention_layers", "holds every layer", "leave sliding_window out")


def _check_positions(config: ModelConfig) -> None:
    """Refuse settings of rotary embedding that contradict each other or the sizes."""
    _check_layers(config, "no_rope_layers")
    if not 0 < config.partial_rotary_factor <= 1:
        raise _wrong("partial_rotary_factor", "must be above 0 and at most 1")
    if config.local_rope is not None and config.sliding_window is None:
        raise _wrong("local_rope", "has no meaning without sliding_window")
    if config.position_embedding == "learned":
        for name, plain in (
            ("rope", PLAIN_ROPE),
            ("local_rope", None),
            ("no_rope_layers", ()),
            ("partial_rotary_factor", 1.0),
        ):
            if getattr(config, name) != plain:
                raise _wrong(name, "has no meaning where positions are learned", "leave it out")
        return
    rotated = config.rotary_dim
    if rotated < 2 or rotated % 2:
        raise _wrong(
            "partial_rotary_factor",
            f"rotates {rotated} of {config.head_dim} dimensions",
            "choose one that rotates an even number of at least 2",
        )
    config.rope.check_pairs(rotated, "model.rope")
    if config.local_rope is not None:
        config.local_rope.check_pairs(rotated, "model.local_rope")


def _check_layers(config: ModelConfig, name: str) -> None:
    """Refuse layers that do not exist, or that are not in ascending order."""
    layers: tuple[int, ...] = getattr(config, name)
    if layers and not 0 <= layers[0] <= layers[-1] < config.num_hidden_layers:
        raise _wrong(name, f"names a layer that is not one of {config.num_hidden_layers}")
    if any(first >= second for first, second in itertools.pairwise(layers)):
        raise _wrong(name, "is not in ascending order")


def _wrong(name: str, what: str, fix: str | None = None) -> RecipeError:
    return RecipeError(what, where=f"model.{name}", fix=fix)
