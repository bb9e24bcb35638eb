"""Which architecture of Hugging Face computes exactly what a ``ModelConfig`` says.

Constants that importing folded into the weights need no unfolding, except where an architecture
always multiplies (Gemma 3: 1 + w in norms, the square root of the width on embeddings).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ingot.artifact.export.hf_rope import rope_keys, ropes_by_layer
from ingot.artifact.export.hf_tensors import (
    ExportedTensor,
    gemma3_tensors,
    gpt2_tensors,
    phi3_tensors,
    same_tensors,
)
from ingot.errors import UsageError
from ingot.model.config import ModelConfig
from ingot.model.rope import RopeConfig


@dataclass(frozen=True)
class HfModel:
    """A model as Hugging Face describes it."""

    config: dict[str, Any]
    """``config.json``, without dtype and special tokens."""
    tensors: dict[str, ExportedTensor]


@dataclass(frozen=True)
class _Architecture:
    """A class of transformers, and what a config must be for it."""

    name: str
    model_type: str
    fits: Callable[[ModelConfig], bool]
    keys: Callable[[ModelConfig], dict[str, Any]]
    """Keys that only this one has."""
    tensors: Callable[[ModelConfig], dict[str, ExportedTensor]]
    ropes: tuple[str, ...] = ("default", "linear", "llama3", "yarn")


def hf_model(config: ModelConfig) -> HfModel:
    """Return the model in the first architecture that computes exactly this config.

    Raises:
        UsageError: there is none.
    """
    for each in _ARCHITECTURES:
        if each.fits(config) and config.rope.rope_type in each.ropes:
            return HfModel(_config(config, each), each.tensors(config))
    raise UsageError(
        "no architecture of Hugging Face computes this model "
        f"({', '.join(f'{key} {value}' for key, value in config.variants.items())})",
        where="--to",
        fix="serve it with: ingot serve",
    )


def _config(config: ModelConfig, architecture: _Architecture) -> dict[str, Any]:
    sizes = (
        "vocab_size",
        "hidden_size",
        "intermediate_size",
        "num_hidden_layers",
        "num_attention_heads",
        "num_key_value_heads",
        "head_dim",
        "max_position_embeddings",
        "rms_norm_eps",
        "tie_word_embeddings",
    )
    named = {"architectures": [architecture.name], "model_type": architecture.model_type}
    if config.position_embedding == "learned":  # GPT-2 has names of its own for its sizes
        return {**named, **architecture.keys(config)}
    return {
        **named,
        **{name: getattr(config, name) for name in sizes},
        "hidden_act": {"silu": "silu", "gelu_tanh": "gelu_pytorch_tanh"}[config.activation],
        "attention_dropout": 0.0,
        **rope_keys(config.rope, config.partial_rotary_factor),
        **architecture.keys(config),
    }


def _layer_types(config: ModelConfig) -> list[str]:
    return [
        "full_attention" if config.window_of(layer) is None else "sliding_attention"
        for layer in range(config.num_hidden_layers)
    ]


def _windows(config: ModelConfig) -> dict[str, Any]:
    """Return the keys of sliding windows as Qwen and SmolLM3 spell them."""
    if config.sliding_window is None:
        return {"use_sliding_window": False, "sliding_window": None}
    first = min(
        (i for i, kind in enumerate(_layer_types(config)) if kind == "sliding_attention"),
        default=config.num_hidden_layers,
    )
    return {
        "use_sliding_window": True,
        "sliding_window": config.sliding_window,
        "max_window_layers": first,
        "layer_types": _layer_types(config),
    }


def _gemma3_keys(config: ModelConfig) -> dict[str, Any]:
    local = config.local_rope or config.rope
    return {
        "attention_bias": False,
        "hidden_activation": "gelu_pytorch_tanh",
        "query_pre_attn_scalar": config.head_dim,
        "sliding_window": config.sliding_window or config.max_position_embeddings,
        "layer_types": _layer_types(config),
        "rope_local_base_freq": local.rope_theta,
        **ropes_by_layer(config),
        "attn_logit_softcapping": None,
        "final_logit_softcapping": None,
    }


def _gpt2_keys(config: ModelConfig) -> dict[str, Any]:
    return {
        "vocab_size": config.vocab_size,
        "tie_word_embeddings": config.tie_word_embeddings,
        "n_embd": config.hidden_size,
        "n_inner": config.intermediate_size,
        "n_layer": config.num_hidden_layers,
        "n_head": config.num_attention_heads,
        "n_positions": config.max_position_embeddings,
        "layer_norm_epsilon": config.rms_norm_eps,
        "activation_function": "gelu_new",
        "attn_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "resid_pdrop": 0.0,
    }


def _differs_in(config: ModelConfig, *names: str) -> bool:
    """Tell whether a config differs from Qwen3's in these variants alone."""
    return set(config.variants) <= {*names, "rope_type"}


def _is_qwen3(config: ModelConfig) -> bool:
    return _differs_in(
        config, "full_attention_layers", "attention_bias"
    ) and config.attention_bias in ("none", "all")


def _is_llama(config: ModelConfig) -> bool:
    return (
        _differs_in(config, "qk_norm", "attention_bias", "mlp_bias")
        and config.qk_norm == "none"
        and config.attention_bias in ("none", "all")
        and config.sliding_window is None
    )


def _is_mistral(config: ModelConfig) -> bool:
    return _differs_in(config, "qk_norm") and config.qk_norm == "none"


def _is_qwen2(config: ModelConfig) -> bool:
    return (
        _differs_in(config, "qk_norm", "attention_bias", "full_attention_layers")
        and config.qk_norm == "none"
        and config.attention_bias == "qkv"
        and config.head_dim * config.num_attention_heads == config.hidden_size
    )


def _is_smollm3(config: ModelConfig) -> bool:
    names = ("qk_norm", "attention_bias", "mlp_bias", "no_rope_layers", "full_attention_layers")
    return (
        _differs_in(config, *names)
        and config.qk_norm == "none"
        and config.attention_bias in ("none", "all")
    )


def _is_phi3(config: ModelConfig) -> bool:
    return (
        _differs_in(config, "qk_norm", "partial_rotary_factor")
        and config.qk_norm == "none"
        and config.head_dim * config.num_attention_heads == config.hidden_size
    )


def _is_olmo2(config: ModelConfig) -> bool:
    return (
        _differs_in(config, "qk_norm", "attention_bias", "norm_placement")
        and (config.qk_norm, config.norm_placement) == ("projection", "post")
        and config.attention_bias in ("none", "all")
        and config.sliding_window is None
        and config.head_dim * config.num_attention_heads == config.hidden_size
    )


def _is_olmo3(config: ModelConfig) -> bool:
    names = ("qk_norm", "attention_bias", "norm_placement", "full_attention_layers", "local_rope")
    plain = RopeConfig(rope_theta=config.rope.rope_theta)
    return (
        _differs_in(config, *names)
        and (config.qk_norm, config.norm_placement) == ("projection", "post")
        and config.attention_bias in ("none", "all")
        and config.sliding_window is not None
        and (config.local_rope or config.rope) == plain
        and config.head_dim * config.num_attention_heads == config.hidden_size
    )


def _is_gemma3(config: ModelConfig) -> bool:
    names = ("norm_placement", "activation", "full_attention_layers", "local_rope")
    return (
        _differs_in(config, *names)
        and (config.norm_placement, config.activation) == ("both", "gelu_tanh")
        and (config.local_rope or config.rope).rope_type == "default"
    )


def _is_gpt2(config: ModelConfig) -> bool:
    return (
        config.position_embedding == "learned"
        and config.norm == "layer"
        and config.norm_placement == "pre"
        and not config.gated_mlp
        and config.activation == "gelu_tanh"
        and (config.attention_bias, config.mlp_bias, config.qk_norm) == ("all", True, "none")
        and config.sliding_window is None
        and config.num_key_value_heads == config.num_attention_heads
        and config.head_dim * config.num_attention_heads == config.hidden_size
        and config.tie_word_embeddings
    )


def _biases(config: ModelConfig) -> dict[str, Any]:
    return {"attention_bias": config.attention_bias == "all"}


def _smollm3_keys(config: ModelConfig) -> dict[str, Any]:
    rotates = [int(config.rope_of(i) is not None) for i in range(config.num_hidden_layers)]
    return {
        **_biases(config),
        "mlp_bias": config.mlp_bias,
        **_windows(config),
        "layer_types": _layer_types(config),
        "no_rope_layers": rotates,  # 1 where a layer does rotate, despite the name
    }


_ARCHITECTURES = (
    _Architecture(
        "Qwen3ForCausalLM",
        "qwen3",
        _is_qwen3,
        lambda c: {**_biases(c), **_windows(c)},
        same_tensors,
    ),
    _Architecture(
        "LlamaForCausalLM",
        "llama",
        _is_llama,
        lambda c: {**_biases(c), "mlp_bias": c.mlp_bias},
        same_tensors,
    ),
    _Architecture(
        "MistralForCausalLM",
        "mistral",
        _is_mistral,
        lambda c: {"sliding_window": c.sliding_window},
        same_tensors,
    ),
    _Architecture("Qwen2ForCausalLM", "qwen2", _is_qwen2, _windows, same_tensors),
    _Architecture("SmolLM3ForCausalLM", "smollm3", _is_smollm3, _smollm3_keys, same_tensors),
    _Architecture(
        "Phi3ForCausalLM",
        "phi3",
        _is_phi3,
        lambda c: {"sliding_window": c.sliding_window, "embd_pdrop": 0.0, "resid_pdrop": 0.0},
        phi3_tensors,
        ("default", "longrope"),
    ),
    _Architecture("Olmo2ForCausalLM", "olmo2", _is_olmo2, _biases, same_tensors),
    _Architecture(
        "Olmo3ForCausalLM",
        "olmo3",
        _is_olmo3,
        lambda c: {
            **_biases(c),
            "sliding_window": c.sliding_window,
            "layer_types": _layer_types(c),
            **ropes_by_layer(c),
        },
        same_tensors,
    ),
    _Architecture(
        "Gemma3ForCausalLM",
        "gemma3_text",
        _is_gemma3,
        _gemma3_keys,
        gemma3_tensors,
        ("default", "linear"),
    ),
    _Architecture("GPT2LMHeadModel", "gpt2", _is_gpt2, _gpt2_keys, gpt2_tensors),
)
