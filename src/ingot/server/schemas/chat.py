"""OpenAI's chat format: request and answer.

Source: https://platform.openai.com/docs/api-reference/chat
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, JsonValue, Tag, model_validator

from ingot.inference.request.params import LogprobCount
from ingot.server.schemas.common import Count, GenerationFields, Name, Strict
from ingot.server.schemas.completions import TimingReport, Usage

_MAX_MESSAGES = 4096
_MAX_TOOLS = 128


class TextPart(Strict):
    """Part of a message."""

    type: Literal["text"]
    text: str


def _content_kind(value: object) -> str | None:
    if isinstance(value, str):
        return "text"
    return "parts" if isinstance(value, list) else None


Content = Annotated[
    Annotated[str, Tag("text")]
    | Annotated[list[TextPart], Field(max_length=1024, fail_fast=True), Tag("parts")],
    Discriminator(
        _content_kind,
        custom_error_type="content_type",
        custom_error_message="must be a string or a list of text parts",
    ),
]


class FunctionCall(Strict):
    """A call made by the model."""

    name: Name
    arguments: str
    """JSON."""


class ToolCall(Strict):
    """A call that the model made, as a later request repeats it."""

    id: str
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
    """An earlier answer of the model."""

    role: Literal["assistant"]
    content: Content | None = None
    name: Name | None = None
    tool_calls: Annotated[list[ToolCall], Field(min_length=1, max_length=_MAX_TOOLS)] | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.content is None and self.tool_calls is None:
            raise ValueError("an assistant's message needs content or tool_calls")
        return self


class ToolMessage(Strict):
    """The result of a tool call."""

    role: Literal["tool"]
    content: Content
    tool_call_id: str


Message = Annotated[
    Instruction | UserMessage | AssistantMessage | ToolMessage, Field(discriminator="role")
]


class Function(Strict):
    """A function that the model may call."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    description: str | None = None
    parameters: dict[str, JsonValue] | None = None
    """JSON schema of its arguments; null takes any object."""
    strict: bool | None = None
    """Accepted for compatibility; a required call always follows the schema."""


class Tool(Strict):
    """A tool that the model may use."""

    type: Literal["function"]
    function: Function


class NamedFunction(Strict):
    """The function that must be called."""

    name: str


class NamedTool(Strict):
    """The tool that must be used."""

    type: Literal["function"]
    function: NamedFunction


class ChatRequest(GenerationFields):
    """The body of ``POST /v1/chat/completions``. Null means the default everywhere."""

    messages: Annotated[list[Message], Field(min_length=1, max_length=_MAX_MESSAGES)]
    max_tokens: Count | None = None
    """The older name of ``max_completion_tokens``."""
    max_completion_tokens: Count | None = None
    """Null: as many as the context holds."""
    logprobs: bool | None = False
    top_logprobs: LogprobCount | None = None
    tools: Annotated[list[Tool], Field(max_length=_MAX_TOOLS)] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedTool | None = None
    parallel_tool_calls: bool | None = True
    """Whether an answer may hold more than one call."""

    @property
    def most_tokens(self) -> int | None:
        """Longest answer in tokens; None for as many as the context holds."""
        return self.max_completion_tokens or self.max_tokens

    @property
    def logprobs_wanted(self) -> int | None:
        """How many of the likeliest tokens to report; None for no log-probabilities."""
        return (self.top_logprobs or 0) if self.logprobs else None


@dataclass(frozen=True)
class TopLogprob:
    """One of the likeliest tokens at a position."""

    token: str
    logprob: float
    bytes: list[int]


@dataclass(frozen=True)
class ChatTokenLogprob:
    """One token of the answer."""

    token: str
    logprob: float
    bytes: list[int]
    top_logprobs: list[TopLogprob]


@dataclass(frozen=True)
class ChatLogprobs:
    """Log-probabilities of an answer's tokens."""

    content: list[ChatTokenLogprob]
    refusal: None = None


@dataclass(frozen=True)
class CalledFunction:
    """Name and arguments of a call."""

    name: str
    arguments: str
    """JSON."""


@dataclass(frozen=True)
class MadeToolCall:
    """A call made by the model."""

    id: str
    index: int
    function: CalledFunction
    type: Literal["function"] = "function"


@dataclass(frozen=True)
class ChatMessage:
    """An answer of the model."""

    content: str | None
    tool_calls: list[MadeToolCall] | None
    role: Literal["assistant"] = "assistant"
    refusal: None = None


FinishReason = Literal["stop", "length", "tool_calls"]


@dataclass(frozen=True)
class ChatChoice:
    """One answer."""

    index: int
    message: ChatMessage
    logprobs: ChatLogprobs | None
    finish_reason: FinishReason


@dataclass(frozen=True)
class ChatChunkChoice:
    """The next part of an answer."""

    index: int
    delta: dict[str, Any]
    """The new role, content or tool_calls."""
    logprobs: ChatLogprobs | None
    finish_reason: FinishReason | None


@dataclass(frozen=True)
class ChatCompletion:
    """The answer to a request."""

    id: str
    created: int
    model: str
    system_fingerprint: str
    """Digest of the ingot whose weights generated this."""
    choices: list[ChatChoice]
    usage: Usage
    timing: TimingReport
    object: Literal["chat.completion"] = "chat.completion"


@dataclass(frozen=True)
class ChatChunk:
    """One part of a streamed answer."""

    id: str
    created: int
    model: str
    system_fingerprint: str
    choices: list[ChatChunkChoice]
    usage: Usage | None
    timing: TimingReport | None
    """Sent together with ``usage``."""
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
