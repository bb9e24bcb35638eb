"""Items of a conversation in OpenAI's Responses API: messages, calls and their results.

Every item of an answer is accepted here again as it was given, with the fields that
OpenAI's clients add to it.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Discriminator, Field, JsonValue, Tag

from ingot.server.schemas.common import Name, Strict
from ingot.server.schemas.messages import MAX_MESSAGES, Nothing, RefusalPart, content_kind

ItemId = Annotated[str, Field(min_length=1, max_length=128)]
_Status = Literal["in_progress", "completed", "incomplete"]


class InputText(Strict):
    """Part of a message to the model."""

    type: Literal["input_text"]
    text: str


class OutputText(Strict):
    """Part of an earlier answer."""

    type: Literal["output_text"]
    text: str
    annotations: Nothing = None
    logprobs: list[JsonValue] | None = None
    """As the answer held them; without effect."""
    parsed: JsonValue = None
    """``text`` as OpenAI's client parsed it; without effect."""


_Part = Annotated[InputText | OutputText | RefusalPart, Field(discriminator="type")]
_Content = Annotated[
    Annotated[str, Tag("text")]
    | Annotated[list[_Part], Field(max_length=1024, fail_fast=True), Tag("parts")],
    Discriminator(
        content_kind,
        custom_error_type="content_type",
        custom_error_message="must be a string or a list of text parts",
    ),
]


class _Item(Strict):
    id: ItemId | None = None
    status: _Status | None = None
    """As the answer held it; without effect."""


class MessageItem(_Item):
    """A message of the conversation."""

    type: Literal["message"] = "message"
    role: Literal["user", "assistant", "system", "developer"]
    content: _Content
    phase: Literal["commentary", "final_answer"] | None = None
    """Without effect."""


class CallItem(_Item):
    """A call that the model made."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True)

    type: Literal["function_call"]
    call_id: ItemId
    name: Name
    arguments: str
    """JSON."""
    caller: None = None
    namespace: None = None
    async_: Annotated[None, Field(alias="async")] = None
    parsed_arguments: JsonValue = None
    """``arguments`` as OpenAI's client parsed them; without effect."""


class CallResultItem(_Item):
    """The result of a call."""

    type: Literal["function_call_output"]
    call_id: ItemId
    output: _Content
    caller: None = None


class ItemReference(Strict):
    """An item of a stored response, by its id."""

    type: Literal["item_reference"] | None = "item_reference"
    id: ItemId


def _kind(value: object) -> str | None:
    if not isinstance(value, dict):
        return None
    kind = value.get("type")
    if kind is None:
        return "message" if "role" in value else "item_reference"
    return str(kind)


StoredItem = Annotated[
    Annotated[MessageItem, Tag("message")]
    | Annotated[CallItem, Tag("function_call")]
    | Annotated[CallResultItem, Tag("function_call_output")],
    Discriminator(_kind),
]
InputItem = Annotated[
    Annotated[MessageItem, Tag("message")]
    | Annotated[CallItem, Tag("function_call")]
    | Annotated[CallResultItem, Tag("function_call_output")]
    | Annotated[ItemReference, Tag("item_reference")],
    Discriminator(
        _kind,
        custom_error_type="item_type",
        custom_error_message="must be a message, function_call, function_call_output or "
        "item_reference",
    ),
]
InputItems = Annotated[
    list[InputItem], Field(min_length=1, max_length=MAX_MESSAGES, fail_fast=True)
]


def text_of_parts(content: str | list[Any]) -> str:
    """Return what a content says, its parts joined."""
    if isinstance(content, str):
        return content
    return "".join(part.refusal if isinstance(part, RefusalPart) else part.text for part in content)
