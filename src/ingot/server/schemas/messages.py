"""Messages of a chat request, in OpenAI's form.

Every answer that this server gives is accepted here again as it was given, with the
fields that OpenAI's clients add to it. A field that is listed as null or empty is part
of OpenAI's messages and says something that no model here can say.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Discriminator, Field, JsonValue, Tag

from ingot.server.schemas.common import Name, Strict

MAX_MESSAGES = 4096
MAX_TOOLS = 128
Nothing = Annotated[list[JsonValue], Field(max_length=0)] | None
"""A list of OpenAI's that is always empty here."""


class TextPart(Strict):
    """Part of a message."""

    type: Literal["text"]
    text: str


class RefusalPart(Strict):
    """Part of an answer in which a model refused."""

    type: Literal["refusal"]
    refusal: str


def content_kind(value: object) -> str | None:
    """Return the form of a content, so that an error is about that form alone."""
    if isinstance(value, str):
        return "text"
    return "parts" if isinstance(value, list) else None


_Parts = Field(max_length=1024, fail_fast=True)
_AnswerPart = Annotated[TextPart | RefusalPart, Field(discriminator="type")]
_form = Discriminator(
    content_kind,
    custom_error_type="content_type",
    custom_error_message="must be a string or a list of text parts",
)
Content = Annotated[
    Annotated[str, Tag("text")] | Annotated[list[TextPart], _Parts, Tag("parts")], _form
]
_AnswerContent = Annotated[
    Annotated[str, Tag("text")] | Annotated[list[_AnswerPart], _Parts, Tag("parts")], _form
]


class FunctionCall(Strict):
    """A call made by the model."""

    name: Name
    arguments: str
    """JSON."""
    parsed_arguments: JsonValue = None
    """``arguments`` as OpenAI's client parsed them; without effect."""


class ToolCall(Strict):
    """A call that the model made, as a later request repeats it."""

    id: str
    index: int | None = None
    """Its number in the answer; without effect, because calls are in order."""
    type: Literal["function"] = "function"
    function: FunctionCall


class Instruction(Strict):
    """An instruction to the model."""

    role: Literal["system", "developer"]
    content: Content
    name: Name | None = None


class UserMessage(Strict):
    """A message of the user."""

    role: Literal["user"]
    content: Content
    name: Name | None = None


class AssistantMessage(Strict):
    """An earlier answer of the model; one that says nothing is an empty text."""

    role: Literal["assistant"]
    content: _AnswerContent | None = None
    refusal: str | None = None
    """What the model said instead of ``content``."""
    name: Name | None = None
    tool_calls: Annotated[list[ToolCall], Field(max_length=MAX_TOOLS, fail_fast=True)] | None = None
    function_call: None = None
    annotations: Nothing = None
    audio: None = None
    parsed: JsonValue = None
    """``content`` as OpenAI's client parsed it; without effect."""


class ToolMessage(Strict):
    """The result of a tool call."""

    role: Literal["tool"]
    content: Content
    tool_call_id: str
    name: Name | None = None
    """The tool's name."""


Message = Annotated[
    Instruction | UserMessage | AssistantMessage | ToolMessage, Field(discriminator="role")
]
Messages = Annotated[list[Message], Field(min_length=1, max_length=MAX_MESSAGES, fail_fast=True)]
