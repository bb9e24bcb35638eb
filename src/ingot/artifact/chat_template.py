"""The chat template that an ingot holds."""

from __future__ import annotations

from ingot.artifact.format.manifest import TOKENIZER_CONFIG
from ingot.artifact.ingot import Ingot
from ingot.errors import ArtifactError
from ingot.model.chat import DEFAULT_TEMPLATE
from ingot.strict_json import parse_object


def chat_template_source(ingot: Ingot) -> str:
    """Return the template in the ingot's ``tokenizer_config.json``, or the default template.

    Raises:
        ArtifactError: the file is not JSON, or its template is not a text.
    """
    where = ingot.path / TOKENIZER_CONFIG
    source = parse_object(ingot.tokenizer_config, where=where).get("chat_template")
    if source is None:
        return DEFAULT_TEMPLATE
    if not isinstance(source, str):
        raise ArtifactError("chat_template must be a string", where=where)
    return source
