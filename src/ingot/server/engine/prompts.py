"""Token ids of a model's prompts: from texts, from given ids, and from conversations."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request

from ingot.artifact import Ingot, chat_template_source
from ingot.errors import IngotError
from ingot.model.chat import ChatTemplate, most_characters
from ingot.model.special_tokens import NAMES as SPECIAL_NAMES
from ingot.model.tool_text import instructions, written_call
from ingot.server.access.request_context import context_of
from ingot.server.engine.encoder_process import EncoderProcess
from ingot.server.engine.text_worker import TextWorker
from ingot.server.engine.tools import described, select_tools
from ingot.server.http.errors import ApiError
from ingot.server.schemas.chat import ConversationFields, Tool
from ingot.server.schemas.messages import (
    AssistantMessage,
    Message,
    TextPart,
    ToolCall,
    ToolMessage,
)

_MAX_INLINE_CHARACTERS = 1024  # encoded in 0.25 ms, less than it takes to start a thread's work

# The template's variables that are not the client's to set.
_OWN_VARIABLES = frozenset({"messages", "tools", "add_generation_prompt", *SPECIAL_NAMES})


@dataclass(frozen=True)
class Conversation:
    """What a chat template renders to a prompt."""

    messages: Sequence[Message]
    tools: Sequence[Tool] = ()
    """Those described to the model."""
    template_kwargs: Mapping[str, Any] = field(default_factory=dict)
    """The client's own variables, which the template must use."""
    hints: Mapping[str, Any] = field(default_factory=dict)
    """Variables that a template may use."""
    add_generation_prompt: bool = True
    continue_final_message: bool = False


def conversation_of(
    request: ConversationFields, messages: Sequence[Message]
) -> tuple[Conversation, list[Tool]]:
    """Return a request's conversation, and the tools of which the answer must call one.

    Raises:
        ApiError: 400 where fields contradict each other.
    """
    continues = bool(request.continue_final_message)
    if continues and request.add_generation_prompt:
        raise ApiError(
            400,
            "continue_final_message contradicts add_generation_prompt; leave one out",
            param="continue_final_message",
            code="invalid_value",
        )
    if request.tool_choice not in (None, "none", "auto") and not request.tools:
        raise ApiError(400, "tool_choice needs tools", param="tool_choice", code="invalid_value")
    tools, required = request.tools or [], list[Tool]()
    if tools:
        tools, required = select_tools(tools, request.tool_choice)
    hints = {"reasoning_effort": request.reasoning_effort, "verbosity": request.verbosity}
    begins_answer = request.add_generation_prompt is not False and not continues
    conversation = Conversation(
        messages=messages,
        tools=tools,
        template_kwargs=request.chat_template_kwargs or {},
        hints={name: value for name, value in hints.items() if value},
        add_generation_prompt=begins_answer,
        continue_final_message=continues,
    )
    return conversation, required


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
        self._templates: dict[str, ChatTemplate] = {}
        """Running templates by their source; a model may have one more for tools."""
        self._process = EncoderProcess(ingot.tokenizer)
        self._tokenizer.native  # noqa: B018  made now, not while the first request waits
        # Apart, so that a slow template holds up conversations alone.
        self._texts = TextWorker("ingot-texts")
        self._conversations = TextWorker("ingot-conversations")

    async def encode(
        self,
        http_request: Request,
        prompts: list[str] | list[list[int]],
        field: str = "prompt",
        *,
        add_special_tokens: bool = True,
    ) -> list[list[int]]:
        """Return each prompt's token ids.

        Args:
            http_request: Where they come from; it is charged for what is encoded and refused.
            prompts: Texts or token ids.
            field: The request's field that holds them.
            add_special_tokens: Whether a text begins with the token that begins the model's texts,
                where it has one.

        Raises:
            ApiError: 400 where one is empty, has an id that is not a token, or leaves no
                space in the context for an answer.
            ClientDisconnect: the client left meanwhile.
        """
        names = [
            f"{field}[{index}]" if len(prompts) > 1 else field for index in range(len(prompts))
        ]
        with _charging(http_request):
            if isinstance(prompts[0], str):
                prefix = self._tokenizer.prefix if add_special_tokens else ()
                return await self._encode_texts(http_request, prompts, names, prefix)
            for ids, name in zip(prompts, names, strict=True):
                self._check(ids, name)
        return prompts

    async def encode_conversation(
        self, http_request: Request, conversation: Conversation, field: str = "messages"
    ) -> list[int]:
        """Return a conversation's token ids, up to where the answer begins.

        Args:
            http_request: Where it comes from; it is charged for what is encoded and refused.
            conversation: The messages and tools.
            field: The request's field that holds the messages.

        Raises:
            ApiError: 400 where the template refuses it, or it leaves no space for an answer.
            ClientDisconnect: the client left meanwhile.
        """
        with _charging(http_request):
            self._check_length("".join(map(text_of, conversation.messages)), field)
            ids = await self.render(http_request, conversation, field)
            self._check(ids, field)
        return ids

    async def encode_text(
        self, http_request: Request, text: str, *, add_special_tokens: bool = True
    ) -> list[int]:
        """Return a text's token ids, however many they are.

        Args:
            http_request: Where it comes from.
            text: The text.
            add_special_tokens: As in ``encode``.

        Raises:
            ClientDisconnect: the client left meanwhile.
        """
        prefix = self._tokenizer.prefix if add_special_tokens else ()
        return await self._texts.run(http_request, lambda: [*prefix, *self._encode(text)])

    async def render(
        self, http_request: Request, conversation: Conversation, field: str = "messages"
    ) -> list[int]:
        """Return a conversation's token ids, however many they are.

        Tools and calls are written into messages if the template does not render them.

        Raises:
            ApiError: 400 where the template refuses it.
            ClientDisconnect: the client left meanwhile.
        """
        return await self._conversations.run(
            http_request, lambda: self._render(conversation, field)
        )

    def close(self) -> None:
        """End the processes and the threads."""
        self._process.close()
        self._texts.close()
        self._conversations.close()
        for template in self._templates.values():
            template.close()

    async def _encode_texts(
        self, http_request: Request, texts: list[str], names: list[str], prefix: tuple[int, ...]
    ) -> list[list[int]]:
        for text, name in zip(texts, names, strict=True):
            self._check_length(text, name)

        def encode_all() -> list[list[int]]:
            encoded = []
            for text, name in zip(texts, names, strict=True):
                ids = [*prefix, *self._encode(text, name=name)]
                self._check(ids, name)  # now, so that those after one refused are not encoded
                encoded.append(ids)
            return encoded

        if sum(map(len, texts)) <= _MAX_INLINE_CHARACTERS:
            return encode_all()
        return await self._texts.run(http_request, encode_all)

    def _encode(self, text: str, continues: bool = False, *, name: str | None = None) -> list[int]:
        """Return a text's token ids; blocks, unless the text is short.

        Args:
            text: The text.
            continues: Whether it continues other text.
            name: The field that holds it, if it must leave space in the context.
        """
        if len(text) <= _MAX_INLINE_CHARACTERS:
            return self._tokenizer.encode(text, continues=continues)
        try:
            if self._tokenizer.native:  # no GIL is held, and 1 MB takes some 20 ms
                ids, _ = self._tokenizer.encode_arrays([text])
            else:
                ids = self._process.encode(text, continues=continues)
        except IngotError as error:
            raise ApiError(400, str(error), param=name, code="tokenizer_failed") from error
        if name is not None and len(ids) >= self._max_context:
            raise self._too_long(f"{name} has {len(ids)} tokens", name, len(ids))
        encoded: list[int] = ids.tolist()
        return encoded

    def _render(self, conversation: Conversation, field: str) -> list[int]:
        try:
            template = self._open_template(tools=bool(conversation.tools))
            return template.encode(
                self._tokenizer,
                encode=self._encode,
                messages=_messages(conversation, template.source),
                variables=_variables(conversation, template.source),
                add_generation_prompt=conversation.add_generation_prompt,
                continue_final_message=conversation.continue_final_message,
            )
        except IngotError as error:
            raise ApiError(400, str(error), param=field, code="template_failed") from error

    def _open_template(self, *, tools: bool) -> ChatTemplate:
        source = chat_template_source(self._ingot, tools=tools)
        if source not in self._templates:
            self._templates[source] = ChatTemplate(
                source,
                where="the model's chat template",
                characters=most_characters(self._tokenizer, self._max_context),
            )
        return self._templates[source]

    def _check_length(self, text: str, name: str) -> None:
        """Refuse a text that is too long however it is encoded; encoding costs 1 s per MB."""
        if (least := self._tokenizer.least_tokens(text)) >= self._max_context:
            raise self._too_long(f"{name} has at least {least} tokens", name, least)

    def _check(self, ids: list[int], name: str) -> None:
        """Refuse token ids that cannot be answered; ``name`` begins with the request's field."""
        field = name.partition("[")[0]
        if not ids:
            advice = f"give the token id {self._tokenizer.start_id} to start a new text"
            raise ApiError(400, f"{name} is empty; {advice}", param=field, code="empty_prompt")
        if (unknown := self._tokenizer.unknown(ids)) is not None:
            vocabulary = self._tokenizer.vocab_size
            raise ApiError(
                400,
                f"{name}: token id {unknown} is not one of the model's {vocabulary} tokens",
                param=field,
                code="invalid_value",
            )
        if len(ids) >= self._max_context:
            raise self._too_long(f"{name} has {len(ids)} tokens", name, len(ids))

    def _too_long(self, what: str, name: str, tokens: int) -> PromptTooLongError:
        return PromptTooLongError(
            tokens,
            f"{what}, but the model's context holds {self._max_context}, the answer included; "
            "send a shorter one",
            param=name.partition("[")[0],
        )


class PromptTooLongError(ApiError):
    """Refusal of a prompt that was read, and perhaps encoded.

    Args:
        tokens: What it is charged as.
        message: What was wrong.
        param: The field that holds it.
    """

    def __init__(self, tokens: int, message: str, *, param: str) -> None:
        super().__init__(400, message, param=param, code="context_length_exceeded")
        self.tokens = tokens


@contextlib.contextmanager
def _charging(http_request: Request) -> Iterator[None]:
    """Charge the request's key for a prompt that is refused inside the block."""
    try:
        yield
    except PromptTooLongError as error:
        context_of(http_request).refused_tokens = error.tokens
        raise


def _messages(conversation: Conversation, source: str) -> list[dict[str, Any]]:
    """Return the messages as a template expects them, tools described if it does not do so."""
    with_calls = "tool_calls" in source
    plain = [_plain(message, with_calls=with_calls) for message in conversation.messages]
    if conversation.tools and "tools" not in source:
        plain.insert(0, {"role": "system", "content": instructions(described(conversation.tools))})
    return plain


def _variables(conversation: Conversation, source: str) -> dict[str, Any]:
    """Return the template's further variables.

    Raises:
        ApiError: 400 where the client gives one that the template does not use.
    """
    for name in conversation.template_kwargs:
        if name in _OWN_VARIABLES or not re.search(rf"\b{re.escape(name)}\b", source):
            raise ApiError(
                400,
                f"chat_template_kwargs: the chat template takes no {name[:64]!r}; remove it",
                param="chat_template_kwargs",
                code="unknown_field",
            )
    variables = {**conversation.hints, **conversation.template_kwargs}
    if conversation.tools and "tools" in source:
        variables["tools"] = described(conversation.tools)
    return variables


def _plain(message: Message, *, with_calls: bool) -> dict[str, Any]:
    """Return a message as templates expect it, its content one text."""
    plain: dict[str, Any] = {"role": _role(message), "content": text_of(message)}
    if message.name:
        plain["name"] = message.name
    if isinstance(message, ToolMessage):
        plain["tool_call_id"] = message.tool_call_id
    if isinstance(message, AssistantMessage) and message.tool_calls:
        if with_calls:
            plain["tool_calls"] = [_plain_call(call) for call in message.tool_calls]
        else:
            written = [
                written_call(call.function.name, call.function.arguments or "{}")
                for call in message.tool_calls
            ]
            plain["content"] = "\n".join(filter(None, [plain["content"], *written]))
    return plain


def _plain_call(call: ToolCall) -> dict[str, Any]:
    """Return a call as templates expect it: its arguments an object, where they are one."""
    arguments: Any = call.function.arguments or "{}"
    with contextlib.suppress(ValueError, RecursionError):
        parsed = json.loads(arguments)
        arguments = parsed if isinstance(parsed, dict) else arguments
    function = {"name": call.function.name, "arguments": arguments}
    return {"id": call.id, "type": call.type, "function": function}


def _role(message: Message) -> str:
    """Return the role by the name that templates know: "developer" is OpenAI's newer "system"."""
    return "system" if message.role == "developer" else message.role


def text_of(message: Message) -> str:
    """Return what a message says, its parts joined."""
    content = message.content
    if content is None:
        return (message.refusal if isinstance(message, AssistantMessage) else None) or ""
    if isinstance(content, str):
        return content
    return "".join(part.text if isinstance(part, TextPart) else part.refusal for part in content)
