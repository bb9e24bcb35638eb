"""Which architecture of Hugging Face computes exactly what a ``ModelConfig`` says.

Constants that importing folded into the weights need no unfolding, except where an architecture
always multiplies (Gemma 3: 1 + w in norms, the square root of the width on embeddings).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingot.errors import UsageError
from ingot.model.config import ModelConfig
from ingot.model.rope import RopeConfig

Array = NDArray[np.float32]
Transform = Callable[[Sequence[Array]], Array]


@dataclass(frozen=True)
class ExportedTensor:
    """A tensor of the exported model, and the ingot's tensors that it is made of."""

    shape: tuple[int, ...]
    sources: tuple[str, ...]
    transform: Transform | None = None
    """From the sources as float32; None where it is the one source as it stands."""
    moves_rows: bool = True
    """Whether the transform only joins the sources and moves whole rows."""


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
    return {
        "architectures": [architecture.name],
        "model_type": architecture.model_type,
        **{name: getattr(config, name) for name in sizes},
        "hidden_act": {"silu": "silu", "gelu_tanh": "gelu_pytorch_tanh"}[config.activation],
        "attention_dropout": 0.0,
        **_rope_keys(config.rope, config.partial_rotary_factor),
        **architecture.keys(config),
    }


def _rope_keys(rope: RopeConfig, partial: float = 1.0) -> dict[str, Any]:
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


def _same(config: ModelConfig) -> dict[str, ExportedTensor]:
    """Return every tensor under its own name, as it is."""
    return {name: ExportedTensor(size, (name,)) for name, size in config.tensor_shapes().items()}


def _phi3_tensors(config: ModelConfig) -> dict[str, ExportedTensor]:
    """Fuse queries, keys and values, and gates and ups."""
    fused: dict[str, ExportedTensor] = {}
    for name, tensor in _same(config).items():
        for parts, whole in (
            (("q_proj", "k_proj", "v_proj"), "qkv_proj"),
            (("gate_proj", "up_proj"), "gate_up_proj"),
        ):
            if any(f".{part}." in name for part in parts):
                if f".{parts[0]}." in name:
                    sources = tuple(name.replace(parts[0], part) for part in parts)
                    rows = sum(config.tensor_shapes()[source][0] for source in sources)
                    key = name.replace(parts[0], whole)
                    fused[key] = ExportedTensor((rows, tensor.shape[1]), sources, np.concatenate)
                break
        else:
            fused[name] = tensor
    return fused


def _gemma3_tensors(config: ModelConfig) -> dict[str, ExportedTensor]:
    """Unfold 1 + w of every norm, and the square root of the width on embeddings."""
    multiplier = np.float32(math.sqrt(config.hidden_size))
    tensors = _same(config)
    for name, tensor in tensors.items():
        if name.endswith("norm.weight") or "layernorm" in name:
            tensors[name] = replace(
                tensor, transform=lambda parts: parts[0] - np.float32(1), moves_rows=False
            )
    embedding = "model.embed_tokens.weight"
    tensors[embedding] = replace(
        tensors[embedding], transform=lambda parts: parts[0] / multiplier, moves_rows=False
    )
    if config.tie_word_embeddings:  # the head is the smaller table, so the last norm is larger
        last = tensors["model.norm.weight"]
        tensors["model.norm.weight"] = replace(
            last, transform=lambda parts: parts[0] * multiplier - np.float32(1), moves_rows=False
        )
    return tensors


def _gemma3_keys(config: ModelConfig) -> dict[str, Any]:
    local = config.local_rope or config.rope
    full = _rope_keys(config.rope)["rope_parameters"]
    return {
        "attention_bias": False,
        "hidden_activation": "gelu_pytorch_tanh",
        "query_pre_attn_scalar": config.head_dim,
        "sliding_window": config.sliding_window or config.max_position_embeddings,
        "layer_types": _layer_types(config),
        "rope_local_base_freq": local.rope_theta,
        "rope_parameters": {
            "full_attention": full,
            "sliding_attention": _rope_keys(local)["rope_parameters"],
        },
        "attn_logit_softcapping": None,
        "final_logit_softcapping": None,
    }


def _gpt2_tensors(config: ModelConfig) -> dict[str, ExportedTensor]:
    """GPT-2's names; its matrices are (inputs, outputs), queries, keys and values in one."""
    shapes = config.tensor_shapes()
    d, f = config.hidden_size, config.intermediate_size

    def plain(name: str) -> ExportedTensor:
        return ExportedTensor(shapes[name], (name,))

    def turned(*sources: str, shape: tuple[int, ...]) -> ExportedTensor:
        return ExportedTensor(
            shape,
            sources,
            lambda parts: np.ascontiguousarray(np.concatenate(parts).T),
            moves_rows=False,
        )

    tensors = {
        "transformer.wte.weight": plain("model.embed_tokens.weight"),
        "transformer.wpe.weight": plain("model.position_embeddings.weight"),
    }
    for layer in range(config.num_hidden_layers):
        ours, theirs = f"model.layers.{layer}.", f"transformer.h.{layer}."
        qkv = [f"{ours}self_attn.{part}_proj" for part in "qkv"]
        for kind in ("weight", "bias"):
            tensors[f"{theirs}ln_1.{kind}"] = plain(f"{ours}input_layernorm.{kind}")
            tensors[f"{theirs}ln_2.{kind}"] = plain(f"{ours}post_attention_layernorm.{kind}")
        for key, sources, size in (
            ("attn.c_attn", qkv, (d, 3 * d)),
            ("attn.c_proj", [f"{ours}self_attn.o_proj"], (d, d)),
            ("mlp.c_fc", [f"{ours}mlp.up_proj"], (d, f)),
            ("mlp.c_proj", [f"{ours}mlp.down_proj"], (f, d)),
        ):
            names = [f"{source}.weight" for source in sources]
            tensors[f"{theirs}{key}.weight"] = turned(*names, shape=size)
            names = [f"{source}.bias" for source in sources]
            tensors[f"{theirs}{key}.bias"] = ExportedTensor(
                (size[1],), tuple(names), np.concatenate
            )
    for kind in ("weight", "bias"):
        tensors[f"transformer.ln_f.{kind}"] = plain(f"model.norm.{kind}")
    return tensors


def _gpt2_keys(config: ModelConfig) -> dict[str, Any]:
    return {
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
        "Qwen3ForCausalLM", "qwen3", _is_qwen3, lambda c: {**_biases(c), **_windows(c)}, _same
    ),
    _Architecture(
        "LlamaForCausalLM",
        "llama",
        _is_llama,
        lambda c: {**_biases(c), "mlp_bias": c.mlp_bias},
        _same,
    ),
    _Architecture(
        "MistralForCausalLM",
        "mistral",
        _is_mistral,
        lambda c: {"sliding_window": c.sliding_window},
        _same,
    ),
    _Architecture("Qwen2ForCausalLM", "qwen2", _is_qwen2, _windows, _same),
    _Architecture("SmolLM3ForCausalLM", "smollm3", _is_smollm3, _smollm3_keys, _same),
    _Architecture(
        "Phi3ForCausalLM",
        "phi3",
        _is_phi3,
        lambda c: {"sliding_window": c.sliding_window, "embd_pdrop": 0.0, "resid_pdrop": 0.0},
        _phi3_tensors,
        ("default", "longrope"),
    ),
    _Architecture("Olmo2ForCausalLM", "olmo2", _is_olmo2, _biases, _same),
    _Architecture(
        "Olmo3ForCausalLM",
        "olmo3",
        _is_olmo3,
        lambda c: {
            **_biases(c),
            "sliding_window": c.sliding_window,
            "layer_types": _layer_types(c),
        },
        _same,
    ),
    _Architecture(
        "Gemma3ForCausalLM",
        "gemma3_text",
        _is_gemma3,
        _gemma3_keys,
        _gemma3_tensors,
        ("default", "linear"),
    ),
    _Architecture("GPT2LMHeadModel", "gpt2", _is_gpt2, _gpt2_keys, _gpt2_tensors),
)
