"""A small config of every architecture that export knows, by transformers' ``model_type``."""

from __future__ import annotations

from typing import Any

from ingot.model import ModelConfig
from ingot.model.rope import RopeConfig
from tests.artifact.export.conftest import SIZES

_LLAMA3 = RopeConfig(
    500_000.0, "llama3", factor=8.0, high_freq_factor=4.0, original_max_position_embeddings=32
)
_YARN = RopeConfig(10_000.0, "yarn", factor=4.0, original_max_position_embeddings=32)
_LONG = RopeConfig(
    10_000.0,
    "longrope",
    factor=4.0,
    original_max_position_embeddings=16,
    short_factor=(1.0, 1.1, 1.2, 1.3, 1.4, 1.5),
    long_factor=(1.0, 1.5, 2.0, 3.0, 4.0, 5.0),
)
_FULL = {"num_hidden_layers": 4, "full_attention_layers": (3,), "sliding_window": 9}


def _config(**variants: Any) -> ModelConfig:
    return ModelConfig(**{**SIZES, **variants})


CONFIGS: dict[str, tuple[str, ModelConfig]] = {
    "qwen3 yarn": ("qwen3", _config(rope=_YARN)),
    "qwen3 biases, windows": ("qwen3", _config(attention_bias="all", **_FULL)),
    "llama": ("llama", _config(qk_norm="none", tie_word_embeddings=False)),
    "llama 3, biases": (
        "llama",
        _config(qk_norm="none", rope=_LLAMA3, attention_bias="all", mlp_bias=True),
    ),
    "llama linear": ("llama", _config(qk_norm="none", rope=RopeConfig(1e4, "linear", factor=2.0))),
    "mistral": ("mistral", _config(qk_norm="none", sliding_window=9)),
    "qwen2": ("qwen2", _config(qk_norm="none", attention_bias="qkv")),
    "qwen2 windows": ("qwen2", _config(qk_norm="none", attention_bias="qkv", **_FULL)),
    "smollm3": ("smollm3", _config(qk_norm="none", num_hidden_layers=4, no_rope_layers=(3,))),
    "phi3": ("phi3", _config(qk_norm="none", partial_rotary_factor=0.75)),
    "phi3 longrope": ("phi3", _config(qk_norm="none", partial_rotary_factor=0.75, rope=_LONG)),
    "olmo2": (
        "olmo2",
        _config(qk_norm="projection", norm_placement="post", tie_word_embeddings=False),
    ),
    "olmo3": (
        "olmo3",
        _config(
            qk_norm="projection",
            norm_placement="post",
            tie_word_embeddings=False,
            rope=_YARN,
            local_rope=RopeConfig(10_000.0),
            **_FULL,
        ),
    ),
    "gemma3": (
        "gemma3_text",
        _config(
            norm_placement="both",
            activation="gelu_tanh",
            rope=RopeConfig(1e6, "linear", factor=8.0),
            local_rope=RopeConfig(10_000.0),
            **_FULL,
        ),
    ),
    "gpt2": (
        "gpt2",
        _config(
            num_key_value_heads=4,
            qk_norm="none",
            attention_bias="all",
            mlp_bias=True,
            norm="layer",
            activation="gelu_tanh",
            gated_mlp=False,
            position_embedding="learned",
        ),
    ),
}
