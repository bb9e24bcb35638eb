"""Rotary frequencies of a GGUF file: its keys, and the tensors that scale them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingot.artifact.import_.gguf.metadata import Metadata
from ingot.model.rope import RopeConfig

FREQUENCIES = "rope_freqs.weight"
SHORT, LONG = "rope_factors_short.weight", "rope_factors_long.weight"
ROPE_TENSORS = frozenset({FREQUENCIES, SHORT, LONG})
"""Tensors that are divisors of frequencies, not weights."""

_SAME = 1e-5  # relative; the converter computes the divisors in float32
_LLAMA3_ORIGINAL = 8192  # of every published model with this scaling

_Read = Callable[[str], NDArray[np.float32]]


def read_rope(
    metadata: Metadata,
    prefix: str,
    *,
    context: int,
    rotary_dim: int,
    tensors: Collection[str],
    read: _Read,
) -> RopeConfig:
    """Return the frequencies that a file's keys and tensors describe.

    Args:
        metadata: The file's.
        prefix: Of its keys, such as ``llama``.
        context: Longest context of the model, in tokens.
        rotary_dim: Rotated dimensions of a head.
        tensors: Names of the file's tensors.
        read: Returns the values of one.

    Raises:
        ArtifactError: a scaling that is not supported.
        RecipeError: values that make no frequencies.
    """
    base: dict[str, Any] = {"rope_theta": metadata.number(f"{prefix}.rope.freq_base", 10_000.0)}
    scaling = f"{prefix}.rope.scaling"
    kind = metadata.text(f"{scaling}.type", "linear")  # llama.cpp's own default; factor 1 is none
    factor = _factor(metadata, prefix)
    original = metadata.integer(f"{scaling}.original_context_length", context)
    attention = metadata.number(f"{scaling}.attn_factor", 1.0)
    yarn = _yarn(metadata, scaling)
    metadata.irrelevant([f"{scaling}.finetuned"])
    if SHORT in tensors or LONG in tensors:
        return RopeConfig(
            **base,
            rope_type="longrope",
            original_max_position_embeddings=original,
            attention_factor=attention,
            short_factor=_divisors(metadata, SHORT, rotary_dim, tensors, read),
            long_factor=_divisors(metadata, LONG, rotary_dim, tensors, read),
        )
    if attention != 1.0 and kind != "yarn":
        raise metadata.wrong(f"{scaling}.attn_factor", f"is not supported where type is {kind!r}")
    if FREQUENCIES in tensors:
        if factor != 1.0:
            raise metadata.wrong(f"{scaling}.factor", f"is not supported beside {FREQUENCIES}")
        divisors = _divisors(metadata, FREQUENCIES, rotary_dim, tensors, read)
        return _divided(base, divisors, rotary_dim, context)
    if kind == "yarn":
        given = yarn.pop("attention_factor", None)
        computed = 0.1 * np.log(factor) + 1.0 if factor > 1.0 else 1.0  # arXiv:2309.00071
        return RopeConfig(
            **base,
            **yarn,
            rope_type="yarn",
            factor=factor,
            original_max_position_embeddings=original,
            attention_factor=float(attention * (computed if given is None else given)),
        )
    if kind == "none" or factor == 1.0:
        return RopeConfig(**base)
    if kind != "linear":
        raise metadata.wrong(f"{scaling}.type", f"{kind[:40]!r} is not supported")
    return RopeConfig(**base, rope_type="linear", factor=factor)


def _factor(metadata: Metadata, prefix: str) -> float:
    """Return the factor of scaling; 0 and absence mean none, and an older key has another name."""
    older = metadata.number(f"{prefix}.rope.scale_linear", 0.0)
    return metadata.number(f"{prefix}.rope.scaling.factor", 0.0) or older or 1.0


def _yarn(metadata: Metadata, scaling: str) -> dict[str, Any]:
    """Return what the keys of YaRN give; they are there in files of that kind alone."""
    found: dict[str, Any] = {}
    for key, name in (
        ("yarn_attn_factor", "attention_factor"),
        ("yarn_beta_fast", "beta_fast"),
        ("yarn_beta_slow", "beta_slow"),
    ):
        if f"{scaling}.{key}" in metadata:
            found[name] = metadata.number(f"{scaling}.{key}")
    for key, plain in (("yarn_ext_factor", 1.0), ("yarn_log_multiplier", 0.0)):
        if metadata.number(f"{scaling}.{key}", plain) != plain:
            raise metadata.wrong(f"{scaling}.{key}", f"is not supported unless it is {plain:g}")
    return found


def _divided(
    base: dict[str, Any], divisors: tuple[float, ...], rotary_dim: int, context: int
) -> RopeConfig:
    """Return frequencies divided by the factors that stand in the file.

    llama.cpp's converter computes them from Llama 3's settings and keeps only the result. Where the
    published settings give the same, the model is said to have them, so that it can be exported
    under its own name; otherwise the factors are kept as they are.
    """
    plain = RopeConfig(**base).frequencies(rotary_dim, context)[0]
    llama3 = RopeConfig(
        **base,
        rope_type="llama3",
        factor=max(divisors),
        low_freq_factor=1.0,
        high_freq_factor=4.0,
        original_max_position_embeddings=_LLAMA3_ORIGINAL,
    )
    frequencies = llama3.frequencies(rotary_dim, context)[0]
    if np.allclose(plain / frequencies, divisors, rtol=_SAME, atol=0):
        return llama3
    return RopeConfig(
        **base,
        rope_type="longrope",
        original_max_position_embeddings=max(2, context),
        attention_factor=1.0,
        short_factor=divisors,
        long_factor=divisors,
    )


def _divisors(
    metadata: Metadata, name: str, rotary_dim: int, tensors: Collection[str], read: _Read
) -> tuple[float, ...]:
    """Return the factors of one tensor."""
    if name not in tensors:
        raise metadata.wrong(f"tensor {name}", "is missing")
    values = read(name)
    if values.shape != (rotary_dim // 2,) or not np.isfinite(values).all():
        raise metadata.wrong(
            f"tensor {name}", f"must hold {rotary_dim // 2} finite numbers, one for each pair"
        )
    return tuple(map(float, values))
