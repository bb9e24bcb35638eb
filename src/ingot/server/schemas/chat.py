"""OpenAI's chat format: request and answer.

Source: https://platform.openai.com/docs/api-reference/chat
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue

from ingot.inference.request.params import LogprobCount
from ingot.server.schemas.common import (
    Count,
    GenerationFields,
    Name,
    ReasoningEffort,
    ServiceFields,
    Strict,
    Verbosity,
)
from ingot.server.schemas.completions import MeteredUsage, PromptLogprobs, TimingReport, Usage
from ingot.server.schemas.messages import MAX_TOOLS, Messages, Nothing


class Function(Strict):
    """A function that the model may call."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    description: str | None = None
    parameters: dict[str, JsonValue] | None = None
    """JSON schema of its arguments; null takes any object."""
    strict: bool | None = None
    """False drops the keywords that cannot be enforced in a required call, instead of refusing."""


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


class AllowedTools(Strict):
    """The tools that may be called, of all that are described."""

    mode: Literal["auto", "required"]
    tools: Annotated[list[NamedTool], Field(min_length=1, max_length=MAX_TOOLS, fail_fast=True)]


class AllowedToolsChoice(Strict):
    """Restricts the calls to some of the tools."""

    type: Literal["allowed_tools"]
    allowed_tools: AllowedTools


ToolChoice = (
    Literal["none", "auto", "required"]
    | Annotated[NamedTool | AllowedToolsChoice, Field(discriminator="type")]
)


class ConversationFields(Strict):
    """What a chat's prompt is made of, besides its messages."""

    tools: Annotated[list[Tool], Field(max_length=MAX_TOOLS, fail_fast=True)] | None = None
    tool_choice: ToolChoice | None = None
    reasoning_effort: ReasoningEffort | None = None
    """A variable of the chat template, for templates that use it."""
    verbosity: Verbosity | None = None
    """Likewise."""
    chat_template_kwargs: Annotated[dict[Name, JsonValue], Field(fail_fast=True)] | None = None
    """Further variables of the chat template, each of which it must use."""
    add_generation_prompt: bool | None = None
    """Whether the prompt ends where an answer begins; null: unless the last message continues."""
    continue_final_message: bool | None = False
    """Continue the last message instead of answering it."""


class ChatRequest(ConversationFields, GenerationFields, ServiceFields):
    """The body of ``POST /v1/chat/completions``. Null means the default everywhere."""

    messages: Messages
    max_tokens: Count | None = None
    """The older name of ``max_completion_tokens``."""
    max_completion_tokens: Count | None = None
    """Null: as many as the context holds."""
    logprobs: bool | None = False
    top_logprobs: LogprobCount | None = None
    parallel_tool_calls: bool | None = True
    """Whether an answer may hold more than one call."""
    modalities: (
        Annotated[list[Literal["text"]], Field(min_length=1, max_length=1, fail_fast=True)] | None
    ) = None
    store: Literal[False] | None = False
    """Chats are not stored, so true is refused; ``/v1/responses`` stores."""
    functions: Nothing = None
    function_call: None = None
    audio: None = None
    prediction: None = None
    web_search_options: None = None

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
    usage: MeteredUsage | Usage
    timing: TimingReport
    prompt_logprobs: PromptLogprobs | None = None
    """Only where requested: those of the prompt as the template rendered it."""
    service_tier: Literal["default"] = "default"
    object: Literal["chat.completion"] = "chat.completion"


@dataclass(frozen=True)
class ChatChunk:
    """One part of a streamed answer."""

    id: str
    created: int
    model: str
    system_fingerprint: str
    choices: list[ChatChunkChoice]
    usage: MeteredUsage | Usage | None
    timing: TimingReport | None
    """Sent together with ``usage``."""
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
