"""Tiny checkpoints of every family, made by transformers, and their logits in float32."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"  # read when transformers is imported

import torch
import transformers

from ingot.artifact import open_ingot
from ingot.model import Tokenizer
from ingot.model.transformer import Transformer

VOCABULARY = 320
SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
    "bos_token_id": 0,
    "eos_token_id": 0,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 5e5,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
YARN = {
    "rope_type": "yarn",
    "rope_theta": 5e5,
    "factor": 4.0,
    "original_max_position_embeddings": 32,
    "beta_fast": 32.0,
    "beta_slow": 1.0,
}
LONGROPE = {
    "rope_type": "longrope",
    "rope_theta": 1e4,
    "partial_rotary_factor": 0.75,
    "original_max_position_embeddings": 32,
    "short_factor": [1.0, 1.05, 1.1],
    "long_factor": [1.0, 2.5, 6.0],
}
MULTIPLIERS = {
    "embedding_multiplier": 12.0,
    "logits_scaling": 8.0,
    "residual_multiplier": 0.22,
    "attention_multiplier": 0.015625,
}
PLAIN = {"rope_type": "default", "rope_theta": 1e4}

# By name: the class of the config, what differs from SIZES, and the dtype it is saved in.
FAMILIES: Mapping[str, tuple[str, dict[str, Any]]] = {
    "llama2": ("LlamaConfig", {"rope_parameters": PLAIN}),
    "llama3": ("LlamaConfig", {"rope_parameters": LLAMA3, "tie_word_embeddings": True}),
    "llama-biases": ("LlamaConfig", {"attention_bias": True, "mlp_bias": True, "head_dim": 12}),
    "llama-linear": (
        "LlamaConfig",
        {"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 4.0}},
    ),
    "mistral": ("MistralConfig", {"sliding_window": 16, "rope_parameters": PLAIN}),
    "qwen2": ("Qwen2Config", {"tie_word_embeddings": True, "rope_parameters": YARN}),
    "qwen2-window": (
        "Qwen2Config",
        {"use_sliding_window": True, "sliding_window": 16, "max_window_layers": 2},
    ),
    "qwen3": ("Qwen3Config", {"head_dim": 16, "rope_parameters": {**PLAIN, "rope_theta": 1e6}}),
    "qwen3-yarn": ("Qwen3Config", {"head_dim": 16, "rope_parameters": YARN}),
    "smollm3": ("SmolLM3Config", {"rope_parameters": {**PLAIN, "rope_theta": 5e6}}),
    "granite": ("GraniteConfig", {**MULTIPLIERS, "tie_word_embeddings": True}),
    "granite-untied": ("GraniteConfig", {**MULTIPLIERS, "attention_bias": True}),
    "granite-hybrid": (
        "GraniteMoeHybridConfig",
        {
            **MULTIPLIERS,
            "tie_word_embeddings": True,
            "layer_types": ["attention"] * 4,
            "num_local_experts": 0,
            "num_experts_per_tok": 0,
            "shared_intermediate_size": 48,
            "position_embedding_type": "rope",
            "mamba_n_heads": 4,
        },
    ),
    "phi3": (
        "Phi3Config",
        {
            "rope_parameters": LONGROPE,
            "original_max_position_embeddings": 32,
            "sliding_window": 262_144,
        },
    ),
    "phi3-short": (
        "Phi3Config",
        {
            "rope_parameters": {**LONGROPE, "original_max_position_embeddings": 128},
            "original_max_position_embeddings": 128,
        },
    ),
    "olmo2": ("Olmo2Config", {"rope_parameters": {**PLAIN, "rope_theta": 5e5}}),
    "olmo3": (
        "Olmo3Config",
        {
            "sliding_window": 16,
            "rope_parameters": {
                "full_attention": YARN,
                "sliding_attention": {**PLAIN, "rope_theta": 5e5},
            },
        },
    ),
    "gemma3": (
        "Gemma3TextConfig",
        {
            "num_hidden_layers": 6,
            "head_dim": 16,
            "query_pre_attn_scalar": 24,
            "sliding_window": 16,
            "rope_parameters": {
                "full_attention": {"rope_type": "linear", "rope_theta": 1e6, "factor": 8.0},
                "sliding_attention": PLAIN,
            },
        },
    ),
    "gpt2": ("GPT2Config", {}),
}


def sizes_of(kind: str) -> dict[str, int]:
    """Return the sizes of a tiny model under a config class's names."""
    if kind != "GPT2Config":
        return dict(SIZES)
    ids = {key: SIZES[key] for key in ("bos_token_id", "eos_token_id", "pad_token_id")}
    return {
        "vocab_size": VOCABULARY,
        "n_embd": 32,
        "n_layer": 3,
        "n_head": 4,
        "n_positions": 128,
        **ids,
    }


def make_checkpoint(
    name: str, folder: Path, tokenizer: Tokenizer, *, dtype: str = "float32", **options: Any
) -> torch.nn.Module:
    """Save a random model of a family with transformers, and a tokenizer beside it; return it."""
    kind, changes = FAMILIES[name]
    config = getattr(transformers, kind)(**{**sizes_of(kind), **json.loads(json.dumps(changes))})
    torch.manual_seed(7)
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    with torch.no_grad():  # norms and biases that are not one and zero
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.2 * torch.randn_like(parameter))
            else:
                parameter.mul_(4)
    model = model.to(getattr(torch, dtype)).eval()
    model.save_pretrained(folder, **options)
    (folder / "tokenizer.json").write_text(tokenizer.to_json())
    return model


def logits_of_ingot(path: Path, ids: torch.Tensor) -> torch.Tensor:
    """Return the logits of the PyTorch module with the weights of an ingot."""
    with open_ingot(path) as ingot:
        model = Transformer(ingot.config)
        model.load_state_dict({name: torch.tensor(value) for name, value in ingot.float32()})
    with torch.no_grad():
        return model.logits(model(ids))
