"""Token ids of a model's prompts: from texts, from given ids, and from conversations."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from ingot.artifact import Ingot, chat_template_source
from ingot.errors import ArtifactError, IngotError, UsageError
from ingot.model.chat import ChatTemplate
from ingot.server.engine.tools import described, instructions, written_call
from ingot.server.http.errors import ApiError
from ingot.server.schemas.chat import (
    AssistantMessage,
    Content,
    Instruction,
    Message,
    Tool,
    ToolMessage,
    UserMessage,
)

_MAX_INLINE_CHARACTERS = 1024  # encoded in 0.25 ms, less than it takes to start a thread's work


class PromptEncoder:
    """Makes and checks one model's prompts. Used on the event loop alone.

    The process that renders the chat template starts with the first conversation.

    Args:
        ingot: Whose tokenizer and chat template to use.
        max_context: Most tokens of prompt plus answer.
    """

    def __init__(self, ingot: Ingot, max_context: int) -> None:
        self._ingot = ingot
        self._tokenizer = ingot.tokenizer
        self._max_context = max_context
        self._template: ChatTemplate | None = None
        # One conversation at a time: a slow template must not occupy every thread of the pool.
        self._turn = asyncio.Lock()

    async def encode(
        self, prompts: list[str] | list[list[int]], field: str = "prompt"
    ) -> list[list[int]]:
        """Return each prompt's token ids.

        Args:
            prompts: Texts or token ids.
            field: The request's field that holds them.

        Raises:
            ApiError: 400 where one is empty, has an id that is not a token, or leaves no
                space in the context for an answer.
        """
        encoded = await self._encode_texts(prompts) if isinstance(prompts[0], str) else prompts
        for index, ids in enumerate(encoded):
            self._check(ids, f"{field}[{index}]" if len(encoded) > 1 else field)
        return encoded

    async def encode_messages(
        self, messages: Sequence[Message], tools: Sequence[Tool] = ()
    ) -> list[int]:
        """Return a chat's token ids, up to where the answer begins.

        Tools and calls are written into messages if the template does not render them.

        Raises:
            ApiError: 400 where the template refuses it, or it leaves no space for an answer.
        """
        async with self._turn:
            ids = await asyncio.to_thread(self._encode_messages, messages, tools)
        self._check(ids, "messages")
        return ids

    async def encode_conversation(self, messages: list[dict[str, Any]], field: str) -> list[int]:
        """Return the token ids of messages in the template's own form; as ``encode_messages``."""
        async with self._turn:
            ids = await asyncio.to_thread(self._render, messages, {})
        self._check(ids, field)
        return ids

    def close(self) -> None:
        """End the template's process."""
        if self._template is not None:
            self._template.close()

    async def _encode_texts(self, texts: list[str]) -> list[list[int]]:
        encode = self._tokenizer.encode
        if sum(map(len, texts)) <= _MAX_INLINE_CHARACTERS:
            return [encode(text) for text in texts]
        # In a thread, because other requests must not wait for a long text.
        return await asyncio.to_thread(lambda: [encode(text) for text in texts])

    def _encode_messages(self, messages: Sequence[Message], tools: Sequence[Tool]) -> list[int]:
        source = self._open_template().source
        with_calls = "tool_calls" in source
        plain = [_plain(message, with_calls=with_calls) for message in messages]
        variables: dict[str, Any] = {}
        if tools and "tools" in source:
            variables["tools"] = described(tools)
        elif tools:
            plain.insert(0, {"role": "system", "content": instructions(tools)})
        return self._render(plain, variables)

    def _render(self, messages: list[dict[str, Any]], variables: dict[str, Any]) -> list[int]:
        template = self._open_template()
        try:
            return template.encode(self._tokenizer, messages, variables=variables)
        except (UsageError, ArtifactError) as error:
            raise _template_failed(error) from error

    def _open_template(self) -> ChatTemplate:
        if self._template is None:
            try:
                source = chat_template_source(self._ingot)
                self._template = ChatTemplate(source, where="the model's chat template")
            except IngotError as error:
                raise _template_failed(error) from error
        return self._template

    def _check(self, ids: list[int], name: str) -> None:
        """Refuse token ids that cannot be answered; ``name`` begins with the request's field."""
        field = name.partition("[")[0]
        if not ids:
            advice = f"give the token id {self._tokenizer.eos_id} to start a new text"
            raise ApiError(400, f"{name} is empty; {advice}", param=field, code="empty_prompt")
        vocabulary = self._tokenizer.vocab_size
        if (highest := max(ids)) >= vocabulary:
            raise ApiError(
                400,
                f"{name}: token id {highest} is not one of the model's {vocabulary} tokens",
                param=field,
                code="invalid_value",
            )
        if len(ids) >= self._max_context:
            raise ApiError(
                400,
                f"{name} has {len(ids)} tokens, but the model's context holds "
                f"{self._max_context}, the answer included; send a shorter one",
                param=field,
                code="context_length_exceeded",
            )


def _template_failed(error: IngotError) -> ApiError:
    return ApiError(400, str(error), param="messages", code="template_failed")


def _plain(message: Message, *, with_calls: bool) -> dict[str, Any]:
    """Return a message as templates expect it, its content one text."""
    plain: dict[str, Any] = {"role": _role(message), "content": _text(message.content)}
    if isinstance(message, Instruction | UserMessage | AssistantMessage) and message.name:
        plain["name"] = message.name
    if isinstance(message, ToolMessage):
        plain["tool_call_id"] = message.tool_call_id
    if isinstance(message, AssistantMessage) and message.tool_calls:
        if with_calls:
            plain["tool_calls"] = [call.model_dump() for call in message.tool_calls]
        else:
            written = [
                written_call(call.function.name, call.function.arguments)
                for call in message.tool_calls
            ]
            plain["content"] = "\n".join(filter(None, [plain["content"], *written]))
    return plain


def _role(message: Message) -> str:
    """Return the role by the name that templates know: "developer" is OpenAI's newer "system"."""
    return "system" if message.role == "developer" else message.role


def _text(content: Content | None) -> str:
    """Return a content's text."""
    if content is None or isinstance(content, str):
        return content or ""
    return "".join(part.text for part in content)
