"""The chat template that an ingot holds."""

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
