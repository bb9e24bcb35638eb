"""The chat template that an ingot holds, and whether it was trained on conversations."""

from __future__ import annotations

from ingot.artifact.ingot import Ingot
from ingot.model.chat import template_for


def chat_template_source(ingot: Ingot, *, tools: bool = False) -> str:
    """Return the ingot's chat template, or the default one where it has none.

    Args:
        ingot: The model.
        tools: Whether a conversation has tools, for which a model may have another template.
    """
    return template_for(ingot.tokenizer, tools=tools)


def knows_conversations(ingot: Ingot) -> bool:
    """Return whether a model was trained on conversations; a base model continues text.

    Of a model that was imported and not trained here, its chat template says so.
    """
    provenance = ingot.manifest.provenance
    task = (provenance.recipe or {}).get("task")
    if isinstance(task, dict) and task.get("kind") in ("chat", "preference"):
        return True
    return provenance.origin is not None and bool(ingot.tokenizer.chat_templates)
