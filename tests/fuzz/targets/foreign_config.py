"""Configs of foreign models: ``config.json`` of every family, quantized ones too."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from random import Random
from typing import Any

from ingot.artifact.import_.compressed import QUANTIZATION, read_scheme
from ingot.artifact.import_.families import FAMILIES, read_family
from ingot.errors import ArtifactError
from ingot.strict_json import parse_object
from tests.fuzz.mutate import dump, hostile_value, mutate_bytes, mutate_json

_SIZES = {
    "vocab_size": 320,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "torch_dtype": "bfloat16",
    "eos_token_id": [0, 1],
}
_GPT2 = {"vocab_size": 320, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128}
_LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 5e5,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
_YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}
_LONGROPE = {
    "type": "longrope",
    "short_factor": [1.0, 1.0, 1.0],
    "long_factor": [1.0, 2.0, 4.0],
}
_BY_LAYER = {"full_attention": _YARN, "sliding_attention": {"rope_type": "default"}}
_WEIGHTS = {"num_bits": 4, "type": "int", "symmetric": True, "strategy": "group", "group_size": 32}
_PACKED = {
    "quant_method": "compressed-tensors",
    "format": "pack-quantized",
    "config_groups": {"group_0": {"targets": ["Linear"], "weights": _WEIGHTS}},
}
_CHANGES: dict[str, dict[str, Any]] = {
    "LlamaForCausalLM": {"rope_parameters": _LLAMA3, QUANTIZATION: _PACKED},
    "MistralForCausalLM": {"sliding_window": 16, "rope_theta": 1e6},
    "Qwen2ForCausalLM": {"use_sliding_window": True, "max_window_layers": 2},
    "Qwen3ForCausalLM": {"rope_scaling": _YARN, "rope_theta": 1e6, "head_dim": 16},
    "SmolLM3ForCausalLM": {"no_rope_layers": [1, 1, 1, 0]},
    "GraniteForCausalLM": {"embedding_multiplier": 12.0, "logits_scaling": 8},
    "GraniteMoeHybridForCausalLM": {
        "layer_types": ["attention"] * 4,
        "num_local_experts": 0,
        "shared_intermediate_size": 48,
        "position_embedding_type": "rope",
    },
    "Phi3ForCausalLM": {
        "partial_rotary_factor": 0.75,
        "original_max_position_embeddings": 32,
        "rope_scaling": _LONGROPE,
    },
    "Olmo3ForCausalLM": {"rope_parameters": _BY_LAYER, "sliding_window": 16},
    "Gemma3ForCausalLM": {"sliding_window_pattern": 2, "rope_local_base_freq": 1e4},
}


@functools.cache
def examples() -> Sequence[bytes]:
    configs = []
    for architecture, (family, _) in FAMILIES.items():
        sizes = _GPT2 if family == "gpt2" else _SIZES
        named = {"architectures": [architecture], "model_type": family}
        configs.append(json.dumps(named | sizes | _CHANGES.get(architecture, {})).encode())
    return configs


def make(random: Random) -> bytes:
    example = random.choice(examples())
    if random.random() < 0.2:
        return mutate_bytes(random, example)
    config = json.loads(example)
    if random.random() < 0.5:
        config[random.choice(sorted(config))] = hostile_value(random)
        return dump(config)
    return dump(mutate_json(random, config))


def attempt(data: bytes) -> None:
    config = parse_object(data, where="config.json")
    quantization = config.pop(QUANTIZATION, None)
    if isinstance(quantization, dict):
        read_scheme(quantization, where="config.json")
    elif quantization is not None:
        raise ArtifactError(f"{QUANTIZATION} is not an object", where="config.json")
    model = read_family(config, where="config.json")
    # What an importer asks before it knows that the tensors are as many.
    assert model.tensors_per_layer > 0
    model.config.rope.frequencies(max(2, model.config.rotary_dim), 64)
