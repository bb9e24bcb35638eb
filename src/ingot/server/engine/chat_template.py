"""A model's chat template: its own where the ingot holds one, else the default."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from typing import Any

from ingot.artifact import Ingot
from ingot.artifact.format.manifest import TOKENIZER_CONFIG
from ingot.artifact.format.strict_json import parse_object
from ingot.errors import ArtifactError, IngotError, UsageError
from ingot.model.chat import DEFAULT_TEMPLATE, ChatTemplate
from ingot.server.http.errors import ApiError


class Conversations:
    """Turns conversations into token ids, one at a time. Used on the event loop alone.

    The template's process starts with the first conversation.

    Args:
        ingot: Whose template and tokenizer to use.
    """

    def __init__(self, ingot: Ingot) -> None:
        self._ingot = ingot
        self._template: ChatTemplate | None = None
        # One at a time: a template that is slow must not take up all threads.
        self._turn = asyncio.Lock()

    async def encode(
        self, messages: list[dict[str, Any]], variables: Mapping[str, Any]
    ) -> list[int]:
        """Return a conversation's token ids, up to where the answer begins.

        Raises:
            ApiError: 400 where the template refuses it, or fails on it.
        """
        async with self._turn:
            return await asyncio.to_thread(self._encode, messages, variables)

    async def mentions(self, name: str) -> bool:
        """Tell whether the template knows of a variable or field of this name."""
        async with self._turn:
            template = await asyncio.to_thread(self._opened)
        return name in template.source

    def close(self) -> None:
        """End the template's process."""
        if self._template is not None:
            self._template.close()

    def _encode(self, messages: list[dict[str, Any]], variables: Mapping[str, Any]) -> list[int]:
        template = self._opened()
        try:
            return template.encode(self._ingot.tokenizer, messages, variables=variables)
        except (UsageError, ArtifactError) as error:
            raise ApiError(400, str(error), param="messages", code="template_failed") from error

    def _opened(self) -> ChatTemplate:
        if self._template is None:
            try:
                self._template = ChatTemplate(
                    source_of(self._ingot), where="the model's chat template"
                )
            except IngotError as error:
                raise ApiError(400, str(error), param="messages", code="template_failed") from error
        return self._template


def source_of(ingot: Ingot) -> str:
    """Return the template in the ingot's ``tokenizer_config.json``, or the default one.

    Raises:
        ArtifactError: the file is not the one that was sealed, or its template is no text.
    """
    path = ingot.path / TOKENIZER_CONFIG
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ArtifactError(f"cannot be read ({error.strerror})", where=path) from error
    if hashlib.sha256(data).hexdigest() != ingot.manifest.files[TOKENIZER_CONFIG].sha256:
        raise ArtifactError("is not the file that was sealed", where=path)
    source = parse_object(data, where=path).get("chat_template", DEFAULT_TEMPLATE)
    if not isinstance(source, str):
        raise ArtifactError("chat_template is no text", where=path)
    return source
