"""Model families that can be imported: one function for each, from its config to a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ingot.artifact.import_.config_fields import shown
from ingot.artifact.import_.families.foreign_model import ForeignModel
from ingot.artifact.import_.families.gemma3 import gemma3
from ingot.artifact.import_.families.gpt2 import gpt2
from ingot.artifact.import_.families.granite import granite, granite_hybrid
from ingot.artifact.import_.families.llama import llama, mistral, smollm3
from ingot.artifact.import_.families.olmo import olmo2, olmo3
from ingot.artifact.import_.families.phi3 import phi3
from ingot.artifact.import_.families.qwen import qwen2, qwen3
from ingot.errors import ArtifactError

Reader = Callable[[Mapping[str, Any], object], ForeignModel]

FAMILIES: Mapping[str, tuple[str, Reader]] = {
    "LlamaForCausalLM": ("llama", llama),
    "MistralForCausalLM": ("mistral", mistral),
    "Qwen2ForCausalLM": ("qwen2", qwen2),
    "Qwen3ForCausalLM": ("qwen3", qwen3),
    "SmolLM3ForCausalLM": ("smollm3", smollm3),
    "GraniteForCausalLM": ("granite", granite),
    "GraniteMoeHybridForCausalLM": ("granitemoehybrid", granite_hybrid),
    "Phi3ForCausalLM": ("phi3", phi3),
    "Olmo2ForCausalLM": ("olmo2", olmo2),
    "Olmo3ForCausalLM": ("olmo3", olmo3),
    "Gemma3ForCausalLM": ("gemma3_text", gemma3),
    "GPT2LMHeadModel": ("gpt2", gpt2),
}
"""By architecture: transformers' ``model_type``, and what reads its config."""


def read_family(data: Mapping[str, Any], *, where: object) -> ForeignModel:
    """Return the model that a foreign ``config.json`` describes.

    Args:
        data: The parsed file, without ``quantization_config``.
        where: What to call it in an error.

    Raises:
        ArtifactError: another architecture, a key that is not understood, a missing one, or a
            value that Ingot cannot compute; each is named.
    """
    named = data.get("architectures")
    architecture = named[0] if isinstance(named, list) and len(named) == 1 else None
    if not isinstance(architecture, str) or architecture not in FAMILIES:
        raise ArtifactError(
            f"architecture {shown(named)} is not supported",
            where=where,
            fix="use one of " + ", ".join(FAMILIES),
        )
    family, read = FAMILIES[architecture]
    if data.get("model_type") != family:
        raise ArtifactError(
            f"model_type {shown(data.get('model_type'))} is not that of {architecture}, {family!r}",
            where=where,
        )
    return read(data, where)


__all__ = ["FAMILIES", "ForeignModel", "read_family"]
