"""What each architecture of GGUF is in Ingot's terms: names, switches, constants to fold in.

Source: the graphs of llama.cpp (github.com/ggml-org/llama.cpp, ``src/models/``) and its converters
(``conversion/``), which say what was done to the weights on the way into the file.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ingot.artifact.format import gguf_names
from ingot.artifact.import_.gguf.metadata import Metadata
from ingot.model.rope import RopeConfig


@dataclass(frozen=True)
class Sizes:
    """Sizes that every architecture has, as the metadata gives them."""

    layers: int
    hidden: int
    heads: int
    head_dim: int
    context: int
    tied: bool
    """Whether the file has no output head of its own."""


Folds = Mapping[str, float]
"""Factors by the name of what they are multiplied into: ``self_attn.q_proj`` of every block,
``model.embed_tokens``, ``model.norm`` or ``lm_head``."""


def _nothing(_metadata: Metadata, _sizes: Sizes) -> dict[str, Any]:
    return {}


def _no_folds(_metadata: Metadata, _sizes: Sizes) -> Folds:
    return {}


@dataclass(frozen=True)
class Architecture:
    """One value of ``general.architecture``."""

    family: str
    """Hugging Face's ``model_type`` of the same model."""
    names: Mapping[str, str] = field(default_factory=lambda: gguf_names.BLOCK)
    permuted: bool = False
    """Whether the rows of queries and keys were reordered for rotation of neighbours."""
    epsilon: str = "attention.layer_norm_rms_epsilon"
    """Key of the norms' epsilon, without prefix."""
    switches: Mapping[str, Any] = field(default_factory=dict)
    """Fields of ``ModelConfig`` that are the same for all models of it."""
    read_switches: Callable[[Metadata, Sizes], dict[str, Any]] = _nothing
    """Fields of ``ModelConfig`` that its metadata gives."""
    read_folds: Callable[[Metadata, Sizes], Folds] = _no_folds


def _smollm3(_metadata: Metadata, sizes: Sizes) -> dict[str, Any]:
    # llama.cpp has no key for it: every fourth layer is not rotated.
    return {"no_rope_layers": tuple(range(3, sizes.layers, 4))}


def _granite(metadata: Metadata, sizes: Sizes) -> dict[str, Any]:
    # In this architecture alone the key says whether there is rotation at all.
    rotated = metadata.flag("granite.rope.scaling.finetuned", True)
    return {} if rotated else {"no_rope_layers": tuple(range(sizes.layers))}


def _granite_folds(metadata: Metadata, sizes: Sizes) -> Folds:
    root = math.sqrt(sizes.head_dim)
    attention = metadata.number("granite.attention.scale", 0.0) or 1 / root
    residual = metadata.number("granite.residual_scale", 0.0) or 1.0
    embedding = metadata.number("granite.embedding_scale", 0.0) or 1.0
    logits = metadata.number("granite.logit_scale", 0.0) or 1.0
    return {
        "self_attn.q_proj": attention * root,
        "self_attn.o_proj": residual,
        "mlp.down_proj": residual,
        "model.embed_tokens": embedding,
        # The head is the table, so the norm before it takes out what the table has in it.
        "model.norm": 1 / embedding / logits if sizes.tied else 1 / logits,
    }


def _phi3(metadata: Metadata, sizes: Sizes) -> dict[str, Any]:
    window = metadata.integer("phi3.attention.sliding_window", 0)
    return {"sliding_window": window if 0 < window < sizes.context else None}


def _olmo2(metadata: Metadata, sizes: Sizes) -> dict[str, Any]:
    # OLMo 3, which has windows, scales only the frequencies of its full layers.
    theta = metadata.number("olmo2.rope.freq_base", 10_000.0)
    return _windows(metadata, sizes, "olmo2", every=4, theta=theta)


def _gemma3(metadata: Metadata, sizes: Sizes) -> dict[str, Any]:
    if metadata.number("gemma3.final_logit_softcapping", 0.0):
        raise metadata.wrong("gemma3.final_logit_softcapping", "is not supported")
    return _windows(metadata, sizes, "gemma3", every=6, theta=10_000.0)


def _gemma3_folds(_metadata: Metadata, sizes: Sizes) -> Folds:
    # The converter has added the one of Gemma's 1 + w already.
    root = math.sqrt(sizes.hidden)
    folds = {"model.embed_tokens": root, "model.norm": 1 / root if sizes.tied else 1.0}
    if sizes.layers == 62:  # 27B scales by another width than the head's, without a key for it
        width = sizes.hidden // sizes.heads
        folds["self_attn.q_norm"] = math.sqrt(sizes.head_dim / width)
    return folds


def _windows(
    metadata: Metadata, sizes: Sizes, prefix: str, *, every: int, theta: float
) -> dict[str, Any]:
    """Return the fields of a sliding window and of the frequencies in its layers.

    Args:
        metadata: The file's.
        sizes: Sizes of the model.
        prefix: Of its keys.
        every: One layer in so many attends to all, unless a key says which.
        theta: Base wavelength in the layers with a window, unless a key gives it.
    """
    window = metadata.integer(f"{prefix}.attention.sliding_window", 0)
    theta = metadata.number(f"{prefix}.rope.freq_base_swa", theta)
    full = _full_layers(metadata, sizes, f"{prefix}.attention.sliding_window_pattern", every)
    if not window or len(full) == sizes.layers:
        return {}
    return {
        "sliding_window": window,
        "full_attention_layers": full,
        "local_rope": RopeConfig(rope_theta=theta),
    }


def _full_layers(metadata: Metadata, sizes: Sizes, key: str, every: int) -> tuple[int, ...]:
    """Return the layers without a window: those that an array says, or one in so many."""
    if not metadata.is_array(key):
        every = metadata.integer(key, every)
        return tuple(range(every - 1, sizes.layers, every)) if every else ()
    local = metadata.numbers(key)
    if len(local) != sizes.layers or local.dtype.kind not in "bui":
        raise metadata.wrong(key, f"must hold {sizes.layers} truth values")
    return tuple(layer for layer, here in enumerate(local) if not here)


_NO_QK_NORM = {"qk_norm": "none"}

ARCHITECTURES: Mapping[str, Architecture] = {
    "llama": Architecture("llama", permuted=True, switches=_NO_QK_NORM),
    "qwen2": Architecture("qwen2", switches=_NO_QK_NORM),
    "qwen3": Architecture("qwen3"),
    "smollm3": Architecture("smollm3", permuted=True, switches=_NO_QK_NORM, read_switches=_smollm3),
    "granite": Architecture(
        "granite",
        permuted=True,
        switches=_NO_QK_NORM,
        read_switches=_granite,
        read_folds=_granite_folds,
    ),
    "phi3": Architecture("phi3", switches=_NO_QK_NORM, read_switches=_phi3),
    "olmo2": Architecture(
        "olmo2",
        names={**gguf_names.BLOCK, **gguf_names.NORMS_AFTER},
        switches={"qk_norm": "projection", "norm_placement": "post"},
        read_switches=_olmo2,
    ),
    "gemma3": Architecture(
        "gemma3_text",
        names={**gguf_names.BLOCK, **gguf_names.NORMS_AROUND},
        switches={"norm_placement": "both", "activation": "gelu_tanh"},
        read_switches=_gemma3,
        read_folds=_gemma3_folds,
    ),
    "gpt2": Architecture(
        "gpt2",
        epsilon="attention.layer_norm_epsilon",
        switches={
            **_NO_QK_NORM,
            "norm": "layer",
            "activation": "gelu_tanh",
            "gated_mlp": False,
            "position_embedding": "learned",
        },
    ),
}
"""The architectures that can be read."""
