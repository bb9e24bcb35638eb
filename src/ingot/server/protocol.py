"""OpenAI's completions format: what may be asked, and what is answered.

Requests are checked strictly: no unknown field, no number in a string, no value
that is not finite. Answers are plain dataclasses, which orjson writes fastest.
Source: https://platform.openai.com/docs/api-reference/completions
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from ingot.inference import SamplingParams

MAX_PROMPTS = 128

_TokenId = Annotated[int, Field(ge=0, lt=2**31)]
_Text = Annotated[str, Tag("text")]
_Texts = Annotated[list[str], Field(max_length=MAX_PROMPTS, fail_fast=True), Tag("texts")]
_TokenIds = Annotated[list[_TokenId], Field(fail_fast=True), Tag("ids")]
_TokenLists = Annotated[
    list[Annotated[list[_TokenId], Field(fail_fast=True)]],
    Field(max_length=MAX_PROMPTS, fail_fast=True),
    Tag("lists"),
]
_StopText = Annotated[str, Field(min_length=1, max_length=1000)]
_StopTexts = Annotated[list[_StopText], Field(max_length=16, fail_fast=True), Tag("texts")]


def _kind(value: object) -> str | None:
    """Say which form a prompt or stop has, so that an error speaks of that form alone."""
    if isinstance(value, str):
        return "text"
    if isinstance(value, list):
        kinds: dict[type, str] = {str: "texts", int: "ids", list: "lists"}
        return kinds.get(type(value[0])) if value else None
    return None


def _stop_kind(value: object) -> str | None:
    """Like ``_kind`` for a field without token ids, where no stop at all may be given."""
    return "texts" if isinstance(value, list) else _kind(value)


Prompt = Annotated[
    _Text | _Texts | _TokenIds | _TokenLists,
    Discriminator(
        _kind,
        custom_error_type="prompt_type",
        custom_error_message="must be a string, a list of strings, a list of token ids, "
        "or a list of lists of token ids, and not empty",
    ),
]
Stop = Annotated[
    Annotated[_StopText, Tag("text")] | _StopTexts,
    Discriminator(
        _stop_kind,
        custom_error_type="stop_type",
        custom_error_message="must be a string or a list of strings",
    ),
]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class StreamOptions(_Strict):
    """What a stream holds besides the text."""

    include_usage: bool | None = False
    """End with a chunk that counts the tokens."""


class CompletionRequest(_Strict):
    """The body of ``POST /v1/completions``. Null stands for the default everywhere."""

    model: str
    prompt: Prompt
    max_tokens: Annotated[int, Field(ge=1, lt=2**31)] | None = 16
    temperature: Annotated[float, Field(ge=0, le=10)] | None = 1.0
    top_p: Annotated[float, Field(gt=0, le=1)] | None = 1.0
    top_k: Annotated[int, Field(ge=0, lt=2**31)] | None = 0
    min_p: Annotated[float, Field(ge=0, le=1)] | None = 0.0
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stop: Stop | None = None
    n: Annotated[int, Field(ge=1, le=16)] | None = 1
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    logprobs: Annotated[int, Field(ge=0, le=5)] | None = None
    ignore_eos: bool | None = False

    @property
    def choices_per_prompt(self) -> int:
        """Answers wanted to each prompt."""
        return self.n or 1

    @property
    def prompts(self) -> list[str] | list[list[int]]:
        """The prompts, as a list whatever form they came in."""
        prompt: Any = self.prompt
        return [prompt] if _kind(prompt) in ("text", "ids") else prompt

    @property
    def wants_usage(self) -> bool:
        """Whether a stream ends with a count of tokens."""
        return bool(self.stream_options and self.stream_options.include_usage)

    def sampling_params(self, choice: int) -> SamplingParams:
        """Return how choice number ``choice`` of a prompt is sampled.

        The first choice uses the request's seed itself, so that it equals the
        answer to ``n=1``; each further one uses the next number. Negative seeds
        become the unsigned 64-bit numbers that the engine takes.
        """
        names = {"max_tokens", "temperature", "top_p", "top_k", "min_p", "ignore_eos", "logprobs"}
        given: dict[str, Any] = {"max_tokens": 16} | self.model_dump(
            include=names, exclude_none=True
        )
        seed = None if self.seed is None else (self.seed + choice) % 2**64
        stop = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())
        return SamplingParams(**given, seed=seed, stop=stop)


@dataclass(frozen=True)
class Logprobs:
    r"""Log-probabilities of a choice's tokens; all lists have one entry for each token.

    A token that is not whole UTF-8 is written ``bytes:\xe2\x82``, as OpenAI does.
    """

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]]
    """The likeliest tokens and the chosen one, so at most one more than were asked for."""
    text_offset: list[int]
    """Where each token starts in the choice's text, in characters."""


@dataclass(frozen=True)
class Choice:
    """One answer, or in a stream the next piece of it."""

    index: int
    """Place of the prompt times ``n``, plus place among its answers."""
    text: str
    logprobs: Logprobs | None
    finish_reason: Literal["stop", "length"] | None


@dataclass(frozen=True)
class Usage:
    """Tokens read and written. A prompt counts once, however many answers it gets."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


@dataclass(frozen=True)
class Completion:
    """The answer to a request, or in a stream one chunk of it."""

    id: str
    created: int
    model: str
    system_fingerprint: str
    """The ingot's digest: the weights that wrote this."""
    choices: list[Choice]
    usage: Usage | None
    object: Literal["text_completion"] = "text_completion"


@dataclass(frozen=True)
class Model:
    """A model that can be asked."""

    id: str
    created: int
    digest: str
    """SHA-256 over everything in the ingot."""
    max_model_len: int
    """Longest prompt and answer together, in tokens."""
    object: Literal["model"] = "model"
    owned_by: str = "ingot"


@dataclass(frozen=True)
class ModelList:
    """All models that can be asked."""

    data: list[Model]
    object: Literal["list"] = "list"


@dataclass(frozen=True)
class Health:
    """Whether the engine works."""

    status: Literal["ok", "failed"]
    digest: str
