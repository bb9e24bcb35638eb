"""Tiny random models of transformers as GGUF files, as llama.cpp's converters make them.

Names come from the ``gguf`` package, which those converters use; what they do to weights and
keys is repeated here (github.com/ggml-org/llama.cpp, ``conversion/``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
import transformers

Array = np.ndarray[Any, np.dtype[np.float32]]
SIZES: dict[str, Any] = {
    "vocab_size": 320,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
    "bos_token_id": 0,
    "eos_token_id": 1,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500_000.0,
    "factor": 32.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}
LONGROPE = {
    "rope_type": "longrope",
    "rope_theta": 10_000.0,
    "short_factor": [1.0, 1.1, 1.2, 1.3, 1.4, 1.5],
    "long_factor": [1.0, 2.0, 3.0, 5.0, 8.0, 13.0],
    "original_max_position_embeddings": 32,
    "partial_rotary_factor": 0.75,
}
YARN = {
    "rope_type": "yarn",
    "rope_theta": 10_000.0,
    "factor": 4.0,
    "original_max_position_embeddings": 32,
}


@dataclass(frozen=True)
class Family:
    """One family: its classes in transformers, its name in GGUF, what differs."""

    name: str
    architecture: str
    config: Callable[..., Any]
    changed: dict[str, Any] = field(default_factory=dict)

    def make(self) -> Any:
        """Return a random model whose every tensor matters, in float32 on the CPU."""
        sizes = {**SIZES, **self.changed}
        if self.name == "gpt2":
            sizes = {
                "vocab_size": SIZES["vocab_size"],
                "n_embd": 64,
                "n_layer": 2,
                "n_head": 4,
                "n_positions": 128,
                "bos_token_id": 0,
                "eos_token_id": 1,
            }
        torch.manual_seed(0)
        config = self.config(**sizes, attn_implementation="eager")
        model = transformers.AutoModelForCausalLM.from_config(config).eval().float()
        with torch.no_grad():
            for name, weight in model.named_parameters():
                one = 1.0 if "norm" in name or "ln_" in name else 0.0
                one = 0.0 if self.architecture == "gemma3" or name.endswith("bias") else one
                weight.copy_(one + 0.1 * torch.randn_like(weight))
        return model


FAMILIES = [
    Family("llama", "llama", transformers.LlamaConfig, {"tie_word_embeddings": False}),
    Family("llama3", "llama", transformers.LlamaConfig, {"rope_parameters": LLAMA3}),
    Family("mistral", "llama", transformers.MistralConfig, {"sliding_window": None}),
    Family(
        "llama biases",
        "llama",
        transformers.LlamaConfig,
        {"attention_bias": True, "mlp_bias": True},
    ),
    Family("qwen2", "qwen2", transformers.Qwen2Config, {"tie_word_embeddings": True}),
    Family("qwen3", "qwen3", transformers.Qwen3Config, {"head_dim": 24}),
    Family("qwen3 yarn", "qwen3", transformers.Qwen3Config, {"rope_parameters": YARN}),
    Family("smollm3", "smollm3", transformers.SmolLM3Config, {"num_hidden_layers": 8}),
    Family(
        "granite",
        "granite",
        transformers.GraniteConfig,
        {
            "embedding_multiplier": 12.0,
            "residual_multiplier": 0.22,
            "attention_multiplier": 0.4,
            "logits_scaling": 4.0,
            "tie_word_embeddings": True,
        },
    ),
    Family("phi3", "phi3", transformers.Phi3Config, {"sliding_window": None}),
    Family(
        "phi4-mini",
        "phi3",
        transformers.Phi3Config,
        {
            "rope_parameters": LONGROPE,
            "original_max_position_embeddings": 32,
            "tie_word_embeddings": True,
            "sliding_window": None,
        },
    ),
    Family("olmo2", "olmo2", transformers.Olmo2Config),
    Family(
        "olmo3",
        "olmo2",
        transformers.Olmo3Config,
        {
            "sliding_window": 8,
            "rope_parameters": {
                "full_attention": YARN,
                "sliding_attention": {"rope_type": "default", "rope_theta": 10_000.0},
            },
        },
    ),
    Family(
        "gemma3",
        "gemma3",
        transformers.Gemma3TextConfig,
        {
            "num_hidden_layers": 7,
            "head_dim": 16,
            "query_pre_attn_scalar": 16,
            "sliding_window": 8,
        },
    ),
    Family("gpt2", "gpt2", transformers.GPT2Config),
]


def convert(
    model: Any, architecture: str, path: Path, keys: dict[str, Any], dtype: str = "F32"
) -> None:
    """Write a model as a GGUF file with further keys; matrices of whole blocks as ``dtype``."""
    config = model.config
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_block_count(config.num_hidden_layers)
    _write_sizes(writer, config, architecture)
    _write_rope(writer, config, architecture)
    for key, each in keys.items():
        _write_key(writer, key, each)
    kind = gguf.GGMLQuantizationType[dtype]
    for name, weight in _converted(model, architecture):
        whole = weight.ndim == 2 and weight.shape[-1] % gguf.GGML_QUANT_SIZES[kind][0] == 0
        used = kind if whole else gguf.GGMLQuantizationType.F32
        writer.add_tensor(name, gguf.quants.quantize(weight, used), raw_dtype=used)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _write_key(writer: gguf.GGUFWriter, key: str, value: Any) -> None:
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, list):
        writer.add_array(key, value)
    elif isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, str):
        writer.add_string(key, value)
    else:
        writer.add_uint32(key, value)


def _write_sizes(writer: gguf.GGUFWriter, config: Any, architecture: str) -> None:
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_head_count(config.num_attention_heads)
    if architecture == "gpt2":
        writer.add_feed_forward_length(4 * config.hidden_size)
        writer.add_layer_norm_eps(config.layer_norm_epsilon)
        return
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    if architecture in ("qwen3", "gemma3"):
        writer.add_key_length(config.head_dim)
        writer.add_value_length(config.head_dim)
    if architecture == "granite":
        writer.add_attention_scale(config.attention_multiplier)
        writer.add_embedding_scale(config.embedding_multiplier)
        writer.add_residual_scale(config.residual_multiplier)
        writer.add_logit_scale(config.logits_scaling)
    if architecture == "gemma3":
        writer.add_sliding_window(config.sliding_window)
    if architecture == "olmo2" and getattr(config, "sliding_window", None):
        writer.add_sliding_window(config.sliding_window)
        local = [kind == "sliding_attention" for kind in config.layer_types]
        writer.add_sliding_window_pattern(local)


def _write_rope(writer: gguf.GGUFWriter, config: Any, architecture: str) -> None:
    if architecture == "gpt2":
        return
    rope = config.rope_parameters
    rope = rope.get("full_attention", rope)
    writer.add_rope_freq_base(rope["rope_theta"])
    head = config.hidden_size // config.num_attention_heads
    if architecture in ("llama", "smollm3", "granite"):
        writer.add_rope_dimension_count(head)
        writer.add_vocab_size(config.vocab_size)
    if architecture == "phi3":
        writer.add_rope_dimension_count(int(head * rope.get("partial_rotary_factor", 1.0)))
        original = rope.get("original_max_position_embeddings", config.max_position_embeddings)
        writer.add_rope_scaling_orig_ctx_len(original)
        writer.add_sliding_window(config.sliding_window or 0)
    if rope["rope_type"] == "longrope":
        original = rope["original_max_position_embeddings"]
        longer = config.max_position_embeddings / original
        writer.add_rope_scaling_attn_factors(math.sqrt(1 + math.log(longer) / math.log(original)))
        for which in ("long", "short"):
            factors = np.array(rope[f"{which}_factor"], dtype=np.float32)
            writer.add_tensor(f"rope_factors_{which}.weight", factors)
    if rope["rope_type"] == "yarn":
        writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        writer.add_rope_scaling_factor(rope["factor"])
        writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
    if rope["rope_type"] == "llama3":
        writer.add_tensor("rope_freqs.weight", _llama3_divisors(rope, head))


def _llama3_divisors(rope: dict[str, Any], dim: int) -> Array:
    """Return what ``generate_extra_tensors`` of the converter makes of Llama 3's settings."""
    low = rope["original_max_position_embeddings"] / rope["low_freq_factor"]
    high = rope["original_max_position_embeddings"] / rope["high_freq_factor"]
    divisors = []
    for at in range(0, dim, 2):
        length = 2 * math.pi * rope["rope_theta"] ** (at / dim)
        smooth = (low / length - 1) / (rope["high_freq_factor"] / rope["low_freq_factor"] - 1)
        between = 1 / ((1 - smooth) / rope["factor"] + smooth)
        divisors.append(1 if length < high else rope["factor"] if length > low else between)
    return np.array(divisors, dtype=np.float32)


def _converted(model: Any, architecture: str) -> Iterator[tuple[str, Array]]:
    """Yield every tensor under its name in GGUF."""
    config = model.config
    kind = next(each for each, name in gguf.MODEL_ARCH_NAMES.items() if name == architecture)
    names = gguf.get_tensor_name_map(kind, config.num_hidden_layers)
    for name, weight in model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        values = weight.numpy()
        if architecture == "gpt2" and name.endswith(
            ("c_attn.weight", "c_proj.weight", "c_fc.weight")
        ):
            values = values.T
        if architecture == "gemma3" and name.endswith("norm.weight"):
            values = values + np.float32(1)
        if architecture in ("llama", "smollm3", "granite"):
            for part, heads in (
                ("q_proj", config.num_attention_heads),
                ("k_proj", config.num_key_value_heads),
            ):
                if f"{part}." in name:
                    values = _neighbours(values, heads)
        renamed = names.get_name(name, try_suffixes=(".weight", ".bias"))
        assert renamed is not None, name
        yield renamed, np.ascontiguousarray(values)


def _neighbours(values: Array, heads: int) -> Array:
    """Return rows whose rotated pairs are neighbours: ``LlamaModel.permute``."""
    halves = values.reshape(heads, 2, values.shape[0] // heads // 2, *values.shape[1:])
    return halves.swapaxes(1, 2).reshape(values.shape)
