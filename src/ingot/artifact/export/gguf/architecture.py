"""Which of llama.cpp's architectures computes exactly what a ``ModelConfig`` says."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ingot.artifact.export.gguf.writer import MetadataValue
from ingot.artifact.export.hf_tensors import ExportedTensor, Transform
from ingot.artifact.format import gguf_names
from ingot.errors import UsageError
from ingot.model.config import ModelConfig
from ingot.model.rope import RopeConfig

Array = NDArray[np.float32]


@dataclass(frozen=True)
class GgufModel:
    """A model as llama.cpp describes it."""

    architecture: str
    metadata: dict[str, MetadataValue]
    """The keys of the architecture, in full."""
    tensors: dict[str, ExportedTensor]
    constants: dict[str, Array]
    """Tensors that are not weights: factors of rotary frequencies."""


@dataclass(frozen=True)
class _Architecture:
    name: str
    fits: Callable[[ModelConfig], bool]
    permuted: bool = False
    """Whether rotation takes neighbouring pairs, so that the rows of q and k change places."""
    fused: bool = False
    """Whether q, k and v are one matrix, and gate and up too where there is a gate."""
    ropes: tuple[str, ...] = ("default", "linear", "yarn")


def gguf_model(config: ModelConfig) -> GgufModel:
    """Return the model in the architecture of llama.cpp that computes exactly this config.

    Raises:
        UsageError: there is none.
    """
    for each in _ARCHITECTURES:
        if each.fits(config) and _rope_fits(config.rope, each.ropes):
            keys = {f"{each.name}.{key}": value for key, value in _keys(config).items()}
            return GgufModel(each.name, keys, _tensors(config, each), _rope_factors(config))
    why = ", ".join(f"{key} {value}" for key, value in config.variants.items())
    if config.sliding_window is not None:
        why = f"it would attend to all tokens where the model sees {config.sliding_window}"
    raise UsageError(
        f"llama.cpp does not compute this model ({why or config.rope.rope_type})",
        where="--to",
        fix="export it with --to hf",
    )


def _rope_fits(rope: RopeConfig, kinds: tuple[str, ...]) -> bool:
    """Tell whether llama.cpp scales frequencies in the same way.

    Its YaRN has fixed bounds and computes the attention factor from the scale.
    """
    if rope.rope_type == "yarn":
        plain = RopeConfig(
            rope.rope_theta,
            "yarn",
            factor=rope.factor,
            original_max_position_embeddings=rope.original_max_position_embeddings,
        )
        return "yarn" in kinds and rope == plain
    return rope.rope_type in kinds


def _keys(config: ModelConfig) -> dict[str, MetadataValue]:
    norm = "layer_norm_epsilon" if config.norm == "layer" else "layer_norm_rms_epsilon"
    keys: dict[str, MetadataValue] = {
        "block_count": config.num_hidden_layers,
        "context_length": config.max_position_embeddings,
        "embedding_length": config.hidden_size,
        "feed_forward_length": config.intermediate_size,
        "vocab_size": config.vocab_size,
        "attention.head_count": config.num_attention_heads,
        "attention.head_count_kv": config.num_key_value_heads,
        "attention.key_length": config.head_dim,
        "attention.value_length": config.head_dim,
        f"attention.{norm}": config.rms_norm_eps,
    }
    if config.position_embedding == "rotary":
        keys["rope.dimension_count"] = config.rotary_dim
        keys["rope.freq_base"] = config.rope.rope_theta
        keys |= _scaling_keys(config.rope)
    if config.sliding_window is not None:
        layers = range(config.num_hidden_layers)
        keys["attention.sliding_window"] = config.sliding_window
        keys["attention.sliding_window_pattern"] = [
            config.window_of(layer) is not None for layer in layers
        ]  # a list of truth values, which llama.cpp takes instead of a period
        keys["rope.freq_base_swa"] = (config.local_rope or config.rope).rope_theta
    return keys


def _scaling_keys(rope: RopeConfig) -> dict[str, MetadataValue]:
    match rope.rope_type:
        case "linear" | "yarn":
            keys: dict[str, MetadataValue] = {
                "rope.scaling.type": rope.rope_type,
                "rope.scaling.factor": rope.factor,
            }
            if rope.original_max_position_embeddings is not None:
                original = rope.original_max_position_embeddings
                keys["rope.scaling.original_context_length"] = original
            return keys
        case "longrope":
            original = rope.original_max_position_embeddings or 1
            factor = rope.attention_factor
            if factor is None:
                scale = math.log(rope.factor) / math.log(original)
                factor = math.sqrt(1 + scale) if rope.factor > 1 else 1.0
            return {
                "rope.scaling.type": "longrope",
                "rope.scaling.original_context_length": original,
                "rope.scaling.attn_factor": factor,
            }
    return {}


def _rope_factors(config: ModelConfig) -> dict[str, Array]:
    """Return what llama.cpp divides the frequency of each pair by, where that is a list."""
    rope = config.rope
    if rope.rope_type == "longrope":
        return {
            "rope_factors_short.weight": np.array(rope.short_factor, dtype=np.float32),
            "rope_factors_long.weight": np.array(rope.long_factor, dtype=np.float32),
        }
    if rope.rope_type != "llama3":
        return {}
    context = config.max_position_embeddings
    plain, _ = RopeConfig(rope.rope_theta).frequencies(config.rotary_dim, context)
    scaled, _ = rope.frequencies(config.rotary_dim, context)
    return {"rope_freqs.weight": (plain / scaled).astype(np.float32)}


def _tensors(config: ModelConfig, architecture: _Architecture) -> dict[str, ExportedTensor]:
    tensors = {}
    shapes = config.tensor_shapes()
    for name, shape in shapes.items():
        sources: tuple[str, ...] = (name,)
        transform: Transform | None = None
        if architecture.fused and (fused := _fused(name, config)) is not None:
            if fused[0] != name:
                continue  # part of the one before
            sources, transform = fused, np.concatenate
            shape = (sum(shapes[each][0] for each in sources), *shape[1:])  # noqa: PLW2901
        elif architecture.permuted and ".q_proj." in name:
            transform = _pairs_together(config.num_attention_heads)
        elif architecture.permuted and ".k_proj." in name:
            transform = _pairs_together(config.num_key_value_heads)
        key = _name(name, config, fused=len(sources) > 1)
        tensors[key] = ExportedTensor(shape, sources, transform)
    if architecture.name == "gemma3":
        _unfold_gemma3(config, tensors)
    return tensors


def _fused(name: str, config: ModelConfig) -> tuple[str, ...] | None:
    """Return the tensors that lie in one with this one, in order."""
    groups: list[tuple[str, ...]] = [("q_proj", "k_proj", "v_proj")]
    if config.gated_mlp:
        groups.append(("gate_proj", "up_proj"))
    for parts in groups:
        for part in parts:
            if f".{part}." in name:
                return tuple(name.replace(part, other) for other in parts)
    return None


def _name(name: str, config: ModelConfig, *, fused: bool) -> str:
    """Return llama.cpp's name of a tensor."""
    stem, _, kind = name.rpartition(".")
    if stem in gguf_names.OUTSIDE:
        return f"{gguf_names.OUTSIDE[stem]}.{kind}"
    _, _, layer, part = stem.split(".", 3)
    placed = gguf_names.NORMS_AROUND if config.norm_placement != "pre" else {}
    names = {**gguf_names.BLOCK, **placed}
    key = names[part]
    if fused:
        key = {"attn_q": "attn_qkv", "ffn_gate": "ffn_up"}[key]
    return f"blk.{layer}.{key}.{kind}"


def _pairs_together(heads: int) -> Callable[[Sequence[Array]], Array]:
    """Return what puts the two rows of each rotated pair beside each other.

    Hugging Face rotates row i of a head with row i + half; llama.cpp's Llama row 2i with 2i + 1.
    """

    def transform(parts: Sequence[Array]) -> Array:
        rows = parts[0]
        halves = rows.reshape(heads, 2, rows.shape[0] // heads // 2, *rows.shape[1:])
        return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(rows.shape))

    return transform


def _unfold_gemma3(config: ModelConfig, tensors: dict[str, ExportedTensor]) -> None:
    """Take back the square root of the width, which llama.cpp multiplies embeddings with."""
    multiplier = np.float32(math.sqrt(config.hidden_size))
    embedding = tensors["token_embd.weight"]
    tensors["token_embd.weight"] = ExportedTensor(
        embedding.shape, embedding.sources, lambda parts: parts[0] / multiplier, False
    )
    if config.tie_word_embeddings:
        last = tensors["output_norm.weight"]
        tensors["output_norm.weight"] = ExportedTensor(
            last.shape, last.sources, lambda parts: parts[0] * multiplier, False
        )


def _differs_in(config: ModelConfig, *names: str) -> bool:
    return set(config.variants) <= {*names, "rope_type"} and config.sliding_window is None


def _full_width(config: ModelConfig) -> bool:
    """Tell whether the heads together are as wide as the model, which some graphs suppose."""
    return config.head_dim * config.num_attention_heads == config.hidden_size


def _is_llama(config: ModelConfig) -> bool:
    return _differs_in(config, "qk_norm", "attention_bias", "mlp_bias") and config.qk_norm == "none"


def _is_smollm3(config: ModelConfig) -> bool:
    every_fourth = tuple(range(3, config.num_hidden_layers, 4))
    return (
        _differs_in(config, "qk_norm", "no_rope_layers")
        and config.qk_norm == "none"
        and config.no_rope_layers == every_fourth
    )


def _is_olmo2(config: ModelConfig) -> bool:
    names = {"qk_norm", "norm_placement", "full_attention_layers", "local_rope", "rope_type"}
    return (
        set(config.variants) <= names
        and (config.qk_norm, config.norm_placement) == ("projection", "post")
        and (config.local_rope or config.rope).rope_type == "default"
        and not config.tie_word_embeddings
        and _full_width(config)
    )


def _is_gemma3(config: ModelConfig) -> bool:
    names = {"norm_placement", "activation", "full_attention_layers", "local_rope", "rope_type"}
    return (
        set(config.variants) <= names
        and (config.norm_placement, config.activation) == ("both", "gelu_tanh")
        and (config.qk_norm == "head")
        and (config.local_rope or config.rope).rope_type == "default"
        and config.num_hidden_layers != 62  # taken for Gemma 3 27B, which scales scores otherwise
    )


def _is_phi3(config: ModelConfig) -> bool:
    return (
        _differs_in(config, "qk_norm", "partial_rotary_factor")
        and config.qk_norm == "none"
        and _full_width(config)
    )


def _is_gpt2(config: ModelConfig) -> bool:
    return (
        config.position_embedding == "learned"
        and (config.norm, config.norm_placement) == ("layer", "pre")
        and not config.gated_mlp
        and config.activation == "gelu_tanh"
        and (config.attention_bias, config.mlp_bias, config.qk_norm) == ("all", True, "none")
        and config.sliding_window is None
        and config.num_key_value_heads == config.num_attention_heads
        and _full_width(config)
    )


def _is_qwen2(config: ModelConfig) -> bool:
    return (
        _differs_in(config, "qk_norm", "attention_bias")
        and (config.qk_norm, config.attention_bias) == ("none", "qkv")
        and _full_width(config)
    )


_ARCHITECTURES = (
    _Architecture("qwen3", _differs_in),
    _Architecture("qwen2", _is_qwen2),
    _Architecture("llama", _is_llama, permuted=True, ropes=("default", "linear", "yarn", "llama3")),
    _Architecture("smollm3", _is_smollm3, permuted=True),
    _Architecture("olmo2", _is_olmo2),
    _Architecture("gemma3", _is_gemma3, ropes=("default", "linear")),
    _Architecture("phi3", _is_phi3, fused=True, ropes=("default", "longrope")),
    _Architecture("gpt2", _is_gpt2, fused=True, ropes=("default",)),
)
