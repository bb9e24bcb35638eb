"""The chat template that an ingot holds."""

from __future__ import annotations

import hashlib

from ingot.artifact.format.manifest import TOKENIZER_CONFIG
from ingot.artifact.format.strict_json import parse_object
from ingot.artifact.ingot import Ingot
from ingot.errors import ArtifactError
from ingot.model.chat import DEFAULT_TEMPLATE


def chat_template_source(ingot: Ingot) -> str:
    """Return the template in the ingot's ``tokenizer_config.json``, or the default template.

    Raises:
        ArtifactError: the file is not the one that was sealed, or its template is not a text.
    """
    path = ingot.path / TOKENIZER_CONFIG
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ArtifactError(f"cannot be read ({error.strerror})", where=path) from error
    if hashlib.sha256(data).hexdigest() != ingot.manifest.files[TOKENIZER_CONFIG].sha256:
        raise ArtifactError("is not the sealed one", where=path)
    source = parse_object(data, where=path).get("chat_template", DEFAULT_TEMPLATE)
    if not isinstance(source, str):
        raise ArtifactError("chat_template must be a string", where=path)
    return source
