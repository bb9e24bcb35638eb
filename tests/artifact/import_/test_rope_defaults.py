"""A config without a base of rotary embedding has the base of its family in transformers."""

from __future__ import annotations

from typing import Any

import pytest
import transformers

from ingot.artifact.import_.families import read_family

# The sizes are only such that every family accepts them.
SIZES: dict[str, Any] = {
    "vocab_size": 300,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
}
ROPE = ("rope_theta", "rope_parameters", "rope_scaling", "rope_local_base_freq")


@pytest.mark.parametrize(
    "family",
    ["Llama", "Mistral", "Qwen2", "Qwen3", "SmolLM3", "Granite", "Phi3", "Olmo2", "Gemma3Text"],
)
def test_the_base_is_the_familys(family: str) -> None:
    config = getattr(transformers, f"{family}Config")(**SIZES)
    architecture = "Gemma3" if family == "Gemma3Text" else family
    data = config.to_dict() | {"architectures": [f"{architecture}ForCausalLM"]}
    left = {name: value for name, value in data.items() if name not in ROPE}
    model = read_family(left, where="config.json").config
    theirs = config.rope_parameters
    if family == "Gemma3Text":  # also where the window hides nothing of so short a context
        local = theirs["sliding_attention"]["rope_theta"]
        assert model.local_rope is not None
        assert model.local_rope.rope_theta == local
        theirs = theirs["full_attention"]
    assert model.rope.rope_theta == theirs["rope_theta"]
