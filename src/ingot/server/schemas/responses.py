"""OpenAI's responses format: requests of text in, text out.

Source: https://platform.openai.com/docs/api-reference/responses
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Discriminator, Field, JsonValue, Tag

from ingot.inference.request.params import ProbabilityMass, Temperature
from ingot.server.schemas.common import (
    Count,
    JsonObjectFormat,
    ModelRequest,
    Name,
    SamplingFields,
    Strict,
    TextFormat,
)
from ingot.server.schemas.service_fields import EndUser


class InputText(Strict):
    """Part of a message."""

    type: Literal["input_text", "output_text"]
    text: str


def _kind(value: object) -> str | None:
    if isinstance(value, str):
        return "text"
    return "items" if isinstance(value, list) else None


_Content = Annotated[
    Annotated[str, Tag("text")]
    | Annotated[list[InputText], Field(max_length=1024, fail_fast=True), Tag("items")],
    Discriminator(
        _kind,
        custom_error_type="content_type",
        custom_error_message="must be a string or a list of text parts",
    ),
]


class InputMessage(Strict):
    """A message of the conversation."""

    type: Literal["message"] = "message"
    role: Literal["user", "assistant", "system", "developer"]
    content: _Content


class SchemaFormat(Strict):
    """JSON that follows a schema."""

    type: Literal["json_schema"]
    name: Name = "answer"
    description: str | None = None
    schema_: Annotated[dict[str, JsonValue], Field(alias="schema")]
    strict: bool | None = None
    """Accepted for compatibility; the answer always follows the schema."""


class TextOptions(Strict):
    """Format of the text."""

    format: (
        Annotated[TextFormat | JsonObjectFormat | SchemaFormat, Field(discriminator="type")] | None
    ) = None


class ResponsesRequest(ModelRequest):
    """The body of ``POST /v1/responses``. Null means the default everywhere."""

    input: Annotated[
        Annotated[str, Tag("text")]
        | Annotated[list[InputMessage], Field(min_length=1, max_length=4096), Tag("items")],
        Discriminator(
            _kind,
            custom_error_type="input_type",
            custom_error_message="must be a string or a list of messages",
        ),
    ]
    instructions: str | None = None
    """System message before the input."""
    max_output_tokens: Count | None = None
    """Null: as many as the context holds."""
    temperature: Temperature | None = 1.0
    top_p: ProbabilityMass | None = 1.0
    text: TextOptions | None = None
    stream: bool | None = False
    store: Literal[False] | None = False
    """Nothing is stored, so true is refused."""
    user: EndUser | None = None

    @property
    def sampling_fields(self) -> SamplingFields:
        """How tokens are chosen."""
        return SamplingFields(temperature=self.temperature, top_p=self.top_p)
