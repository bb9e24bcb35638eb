"""OpenAI's Responses API: the answer.

Answers are plain dataclasses, which orjson writes fastest.
Source: https://platform.openai.com/docs/api-reference/responses/object
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from ingot.server.schemas.chat import ChatTokenLogprob
from ingot.server.schemas.completions import TimingReport

Status = Literal["in_progress", "completed", "incomplete", "failed"]


@dataclass(frozen=True)
class TextOfAnswer:
    """The text of a message."""

    text: str
    logprobs: list[ChatTokenLogprob] = field(default_factory=list)
    annotations: list[Any] = field(default_factory=list)
    type: Literal["output_text"] = "output_text"


@dataclass(frozen=True)
class AnswerMessage:
    """A message of the model."""

    id: str
    status: Status
    content: list[TextOfAnswer]
    role: Literal["assistant"] = "assistant"
    type: Literal["message"] = "message"


@dataclass(frozen=True)
class AnswerCall:
    """A call made by the model."""

    id: str
    call_id: str
    """What the call's result refers to."""
    name: str
    arguments: str
    """JSON."""
    status: Status
    type: Literal["function_call"] = "function_call"


@dataclass(frozen=True)
class CachedTokens:
    """Details of the prompt's tokens."""

    cached_tokens: int
    """Those found in the prefix cache."""
    cache_write_tokens: Literal[0] = 0


@dataclass(frozen=True)
class ReasoningTokens:
    """Details of the answer's tokens."""

    reasoning_tokens: Literal[0] = 0


@dataclass(frozen=True)
class ResponseUsage:
    """Tokens of prompt and answer."""

    input_tokens: int
    output_tokens: int
    total_tokens: int
    input_tokens_details: CachedTokens
    output_tokens_details: ReasoningTokens = field(default_factory=ReasoningTokens)


@dataclass(frozen=True)
class IncompleteDetails:
    """Why an answer ended early."""

    reason: Literal["max_output_tokens"] = "max_output_tokens"


@dataclass(frozen=True)
class ResponseFault:
    """Why there is no complete answer."""

    code: str
    message: str


@dataclass(frozen=True)
class ResponseBody:
    """A response: the answer, and the request's settings again."""

    id: str
    created_at: int
    model: str
    system_fingerprint: str
    """Digest of the ingot whose weights generated this."""
    status: Status
    output: list[AnswerMessage | AnswerCall]
    completed_at: int | None
    error: ResponseFault | None
    incomplete_details: IncompleteDetails | None
    usage: ResponseUsage | None
    timing: TimingReport | None
    previous_response_id: str | None
    instructions: str | None
    max_output_tokens: int | None
    max_tool_calls: int | None
    metadata: dict[str, str]
    parallel_tool_calls: bool
    prompt_cache_key: str | None
    reasoning: dict[str, Any]
    safety_identifier: str | None
    store: bool
    temperature: float | None
    text: dict[str, Any]
    tool_choice: Any
    tools: list[dict[str, Any]]
    top_logprobs: int
    top_p: float | None
    user: str | None
    background: Literal[False] = False
    service_tier: Literal["default"] = "default"
    truncation: Literal["disabled"] = "disabled"
    object: Literal["response"] = "response"


@dataclass(frozen=True)
class DeletedResponse:
    """A response that is not stored any more."""

    id: str
    deleted: Literal[True] = True
    object: Literal["response.deleted"] = "response.deleted"


@dataclass(frozen=True)
class InputItemList:
    """Items that a response answered."""

    data: list[dict[str, Any]]
    first_id: str | None
    last_id: str | None
    has_more: bool
    object: Literal["list"] = "list"


@dataclass(frozen=True)
class InputTokens:
    """The length of a prompt."""

    input_tokens: int
    object: Literal["response.input_tokens"] = "response.input_tokens"
