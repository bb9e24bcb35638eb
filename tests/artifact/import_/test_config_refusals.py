"""Configs that Ingot would compute wrongly are refused, with the key named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import transformers

from ingot.artifact.import_.families import FAMILIES, read_family
from ingot.errors import ArtifactError
from tests.artifact.import_ import tiny

LONGROPE = {"type": "longrope", "short_factor": [1.0], "long_factor": [1.0]}
REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("llama2", {"rope_scaling": {"type": "dynamic", "factor": 2.0}}, "'dynamic'"),
    ("llama2", {"rope_scaling": {"type": "linear", "factor": 2.0}}, "does not say the same"),
    ("llama2", {"rope_parameters": {"rope_type": "dynamic", "factor": 2.0}}, "'dynamic'"),
    (
        "llama2",
        {"rope_parameters": {"rope_type": "default", "mrope_section": [1]}},
        "mrope_section",
    ),
    ("llama2", {"rope_parameters": {"rope_type": "linear"}}, "factor is missing"),
    ("llama2", {"rope_theta": 5e5}, "rope_theta"),
    ("llama2", {"rope_interleaved": True}, "rope_interleaved"),
    ("llama2", {"hidden_act": "gelu"}, "hidden_act"),
    ("llama2", {"architectures": ["LlamaForSequenceClassification"]}, "architecture"),
    ("llama2", {"architectures": ["LlamaForCausalLM", "Other"]}, "architecture"),
    ("llama2", {"model_type": "mistral"}, "model_type"),
    ("llama2", {"new_idea": 1}, "'new_idea'"),
    ("llama2", {"attention_bias": "yes"}, "attention_bias"),
    ("llama2", {"num_hidden_layers": True}, "num_hidden_layers"),
    ("llama2", {"num_hidden_layers": 0}, "num_hidden_layers"),
    ("llama2", {"vocab_size": None}, "vocab_size"),
    ("llama2", {"hidden_size": 33, "head_dim": None}, "hidden_size"),
    ("llama2", {"rms_norm_eps": 10**400}, "rms_norm_eps"),
    ("llama2", {"auto_map": {"AutoModelForCausalLM": "x.Y"}}, "auto_map"),
    ("llama2", {"per_layer_config": {"0": {"hidden_size": 8}}}, "per_layer_config"),
    ("mistral", {"layer_types": ["full_attention"] * 4}, "layer_types"),
    ("qwen2-window", {"layer_types": ["full_attention", "conv"] * 2}, "'conv'"),
    ("qwen2-window", {"layer_types": ["full_attention"]}, "1 entries for 4"),
    ("qwen2", {"layer_types": ["sliding_attention"] * 4}, "sliding_window"),
    ("qwen2", {"use_mrope": True}, "use_mrope"),
    ("qwen3", {"sliding_window": "all"}, "sliding_window"),
    ("smollm3", {"no_rope_layers": [1, 1]}, "no_rope_layers"),
    ("smollm3", {"no_rope_layers": [1, 2, 1, 1]}, "no_rope_layers"),
    ("granite", {"residual_multiplier": 0}, "residual_multiplier"),
    ("granite-hybrid", {"layer_types": ["mamba"] * 4}, "'mamba'"),
    ("granite-hybrid", {"num_local_experts": 8}, "num_local_experts"),
    ("granite-hybrid", {"position_embedding_type": "learned"}, "position_embedding_type"),
    ("phi3", {"lm_head_bias": True}, "lm_head_bias"),
    (
        "phi3",
        {"max_position_embeddings": 0, "original_max_position_embeddings": None}
        | {"rope_parameters": None, "rope_scaling": LONGROPE},
        "original_max_position_embeddings",
    ),
    ("phi3", {"original_max_position_embeddings": 64}, "original_max_position_embeddings"),
    ("olmo3", {"rope_parameters": {"rope_type": "default"}}, "rope_type"),
    ("gemma3", {"attn_logit_softcapping": 50.0}, "attn_logit_softcapping"),
    ("gemma3", {"final_logit_softcapping": 30.0}, "final_logit_softcapping"),
    ("gemma3", {"use_bidirectional_attention": True}, "use_bidirectional_attention"),
    ("gemma3", {"hidden_activation": "gelu"}, "hidden_activation"),
    ("gemma3", {"query_pre_attn_scalar": -1}, "query_pre_attn_scalar"),
    ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx"),
    ("gpt2", {"activation_function": "relu"}, "activation_function"),
    ("gpt2", {"add_cross_attention": True}, "add_cross_attention"),
    ("gpt2", {"tie_word_embeddings": False}, "tie_word_embeddings"),
]


def config_of(name: str, folder: Path) -> dict[str, Any]:
    """Return what transformers saves of a family's config."""
    kind, changes = tiny.FAMILIES[name]
    sizes = tiny.sizes_of(kind)
    made = getattr(transformers, kind)(**{**sizes, **json.loads(json.dumps(changes))})
    made.architectures = [
        architecture for architecture, (family, _) in FAMILIES.items() if family == made.model_type
    ]
    made.save_pretrained(folder)
    found: dict[str, Any] = json.loads((folder / "config.json").read_text())
    return found


@pytest.mark.parametrize(("name", "changes", "named"), REFUSED)
def test_refused_by_name(name: str, changes: dict[str, Any], named: str, tmp_path: Path) -> None:
    config = config_of(name, tmp_path)
    read_family(config, where="config.json")  # before the change it is understood
    with pytest.raises(ArtifactError) as refusal:
        read_family(config | changes, where="config.json")
    assert named in str(refusal.value)
    assert str(refusal.value).startswith("config.json")


def test_multipliers_whose_product_is_too_small_for_a_number_are_no_division_by_zero(
    tmp_path: Path,
) -> None:
    tiny_numbers = {"embedding_multiplier": 1e-300, "logits_scaling": 1e-300}
    read_family(config_of("granite", tmp_path) | tiny_numbers, where="config.json")


@pytest.mark.parametrize("name", tiny.FAMILIES)
def test_an_unknown_key_is_refused_in_every_family(name: str, tmp_path: Path) -> None:
    config = config_of(name, tmp_path) | {"attention_sink_size": 4}
    with pytest.raises(ArtifactError, match="'attention_sink_size' is not understood"):
        read_family(config, where="config.json")
