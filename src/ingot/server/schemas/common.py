"""Fields that several requests share, checked strictly.

No unknown field, no number in a string, no value that is not finite. Null stands
for the default everywhere. Every field has an effect, except those of ``ServiceFields``
that say so; one that would have none is absent, and so refused by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, JsonValue, Tag

from ingot.errors import UsageError
from ingot.inference import SamplingParams
from ingot.inference.request.params import (
    MAX_ALLOWED,
    MAX_BAD_WORDS,
    MAX_BIASES,
    MAX_STOPS,
    AdditivePenalty,
    BadWord,
    Bias,
    LogprobCount,
    MinP,
    Priority,
    ProbabilityMass,
    RepetitionPenalty,
    Seed,
    StopText,
    Temperature,
    Timeout,
    TokenCount,
    TokenId,
    TopK,
)
from ingot.server.http.errors import from_ingot_error

MAX_PROMPTS = 2048  # as many inputs as OpenAI embeds at once
MAX_CHOICES = 16

Count = Annotated[int, Field(ge=1, lt=2**31)]
_Text = Annotated[str, Tag("text")]
_Texts = Annotated[list[str], Field(max_length=MAX_PROMPTS, fail_fast=True), Tag("texts")]
TokenIds = Annotated[list[TokenId], Field(fail_fast=True)]
_TokenLists = Annotated[list[TokenIds], Field(max_length=MAX_PROMPTS, fail_fast=True), Tag("lists")]
_StopTexts = Annotated[list[StopText], Field(max_length=MAX_STOPS, fail_fast=True), Tag("texts")]
Name = Annotated[str, Field(min_length=1, max_length=256)]
EndUser = Annotated[str, Field(max_length=128)]
Metadata = Annotated[
    dict[
        Annotated[str, Field(min_length=1, max_length=64)],
        Annotated[str, Field(max_length=512)],
    ],
    Field(max_length=16, fail_fast=True),
]
ReasoningEffort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
Verbosity = Literal["low", "medium", "high"]


def kind_of(value: object) -> str | None:
    """Return the form of a prompt or stop, so that an error is about that form alone."""
    if isinstance(value, str):
        return "text"
    if isinstance(value, list):
        kinds: dict[type, str] = {str: "texts", int: "ids", list: "lists"}
        return kinds.get(type(value[0])) if value else None
    return None


def _stop_kind(value: object) -> str | None:
    """Like ``kind_of`` for a field without token ids, which may be an empty list."""
    return "texts" if isinstance(value, list) else kind_of(value)


Prompt = Annotated[
    _Text | _Texts | Annotated[TokenIds, Tag("ids")] | _TokenLists,
    Discriminator(
        kind_of,
        custom_error_type="prompt_type",
        custom_error_message="must be a string, a list of strings, a list of token ids, "
        "or a list of lists of token ids, and not empty",
    ),
]
Stop = Annotated[
    Annotated[StopText, Tag("text")] | _StopTexts,
    Discriminator(
        _stop_kind,
        custom_error_type="stop_type",
        custom_error_message="must be a string or a list of strings",
    ),
]


class Strict(BaseModel):
    """The base of every request."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class ModelRequest(Strict):
    """The base of every request to a model."""

    model: str


class StreamOptions(Strict):
    """Contents of a stream besides the text."""

    include_usage: bool | None = False
    """End with a chunk that counts the tokens."""
    include_obfuscation: Literal[False] | None = False
    """Events are not padded to hide their lengths, so true is refused."""


class UsageOptions(Strict):
    """Contents of ``usage`` besides the tokens, in OpenRouter's form."""

    include: bool | None = False
    """Add the cost: money, energy, and the engine's time."""


class JsonSchema(Strict):
    """A named JSON schema."""

    name: Name = "answer"
    description: str | None = None
    schema_: Annotated[dict[str, JsonValue], Field(alias="schema")]
    strict: bool | None = None
    """False drops the keywords that cannot be enforced during generation, instead of refusing."""


class TextFormat(Strict):
    """Any text."""

    type: Literal["text"]


class JsonObjectFormat(Strict):
    """Any JSON object."""

    type: Literal["json_object"]


class JsonSchemaFormat(Strict):
    """JSON that follows a schema."""

    type: Literal["json_schema"]
    json_schema: JsonSchema


ResponseFormat = Annotated[
    TextFormat | JsonObjectFormat | JsonSchemaFormat, Field(discriminator="type")
]


class StructuredOutputs(Strict):
    """One grammar that the answer follows, in vLLM's form."""

    json_: Annotated[dict[str, JsonValue] | None, Field(alias="json")] = None
    """A JSON schema."""
    regex: str | None = None
    grammar: str | None = None
    """A grammar in llguidance's dialect of Lark."""
    choice: Annotated[list[str], Field(min_length=1, max_length=1000, fail_fast=True)] | None = None
    """The possible answers."""


class SamplingFields(Strict):
    """How tokens are chosen; the same for every route that generates.

    Where one is left out or null, the model's own default applies, if it has one
    (``generation_config`` of the server's settings), else the one given here.
    """

    temperature: Temperature | None = 1.0
    top_p: ProbabilityMass | None = 1.0
    top_k: TopK | None = 0
    min_p: MinP | None = 0.0
    typical_p: ProbabilityMass | None = 1.0
    repetition_penalty: RepetitionPenalty | None = 1.0
    presence_penalty: AdditivePenalty | None = 0.0
    frequency_penalty: AdditivePenalty | None = 0.0
    logit_bias: (
        Annotated[
            dict[
                Annotated[str, Field(pattern=r"^(0|[1-9][0-9]{0,9})$")],
                Bias,
            ],
            Field(max_length=MAX_BIASES, fail_fast=True),
        ]
        | None
    ) = None
    """Token ids, as text, and what is added to their scores."""
    seed: Seed | None = None
    stop: Stop | None = None
    stop_token_ids: Annotated[list[TokenId], Field(max_length=MAX_STOPS, fail_fast=True)] | None = (
        None
    )
    ignore_eos: bool | None = False
    min_tokens: TokenCount | None = 0
    """Tokens before any token or text may end the answer."""
    include_stop_str_in_output: bool | None = False
    """Keep the text or token that ended the answer."""
    allowed_token_ids: (
        Annotated[list[TokenId], Field(min_length=1, max_length=MAX_ALLOWED, fail_fast=True)] | None
    ) = None
    """The only tokens that may be generated."""
    bad_words: Annotated[list[BadWord], Field(max_length=MAX_BAD_WORDS, fail_fast=True)] | None = (
        None
    )
    """Words that may not be generated."""

    def sampling(
        self, choice: int, defaults: Mapping[str, float], **further: Any
    ) -> SamplingParams:
        """Return how choice number ``choice`` of a prompt is sampled.

        The first choice uses the request's seed itself, so that it equals the
        answer to ``n=1``; each further one uses the next number, modulo 2**64.

        Args:
            choice: Number of the choice, from 0.
            defaults: The model's own values for fields that the request leaves out.
            further: Fields of ``SamplingParams`` that are the route's own.

        Raises:
            ApiError: 400 for fields that are valid alone but not together.
        """
        given = self.model_dump(include=_NUMBERS, exclude_none=True, exclude_unset=True)
        stop = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())
        allowed = self.allowed_token_ids
        try:
            return SamplingParams(
                **{**defaults, **given},
                **further,
                seed=None if self.seed is None else (self.seed + choice) % 2**64,
                stop=stop,
                stop_token_ids=tuple(self.stop_token_ids or ()),
                allowed_token_ids=None if allowed is None else tuple(allowed),
                bad_words=tuple(self.bad_words or ()),
                logit_bias=_biases(self.logit_bias or {}),
            )
        except UsageError as error:
            raise from_ingot_error(error) from error


_NUMBERS = {
    *("temperature", "top_p", "top_k", "min_p", "typical_p", "ignore_eos", "min_tokens"),
    "include_stop_str_in_output",
    *("repetition_penalty", "presence_penalty", "frequency_penalty"),
}


def _biases(given: Mapping[str, float]) -> tuple[tuple[int, float], ...]:
    return tuple((int(token_id), float(bias)) for token_id, bias in given.items())


class SchedulingFields(Strict):
    """How the engine schedules a request."""

    timeout: Timeout | None = None
    """Seconds until the request is cancelled; the server's own limit also applies."""
    priority: Priority | None = 0
    """Lower runs first."""
    cache_salt: Annotated[str, Field(max_length=128)] | None = None
    """Only requests with the same salt share cached prefixes."""
    objective: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """Latency that the answer is held to, such as ``ttft=2s,itl=100ms``, in place of the server's;
    ``none`` has it take what other answers leave."""
    late: Literal["refuse", "allow"] | None = "refuse"
    """What becomes of a request that would miss its objective."""


class GenerationFields(ModelRequest, SamplingFields, SchedulingFields):
    """Fields of every route that generates, as far as OpenAI's routes agree."""

    n: Annotated[int, Field(ge=1, le=MAX_CHOICES)] | None = 1
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    usage: UsageOptions | None = None
    """What ``usage`` reports; a stream then ends with it, as with ``include_usage``."""
    response_format: ResponseFormat | None = None
    structured_outputs: StructuredOutputs | None = None
    prompt_logprobs: LogprobCount | None = None
    """Report the log-probability of each prompt token and this many of the likeliest, as vLLM."""

    @property
    def has_grammar(self) -> bool:
        """Whether the answer must follow a grammar."""
        return self.response_format is not None or self.structured_outputs is not None

    @property
    def wants_usage(self) -> bool:
        """Whether a stream ends with a count of tokens."""
        asked = self.stream_options and self.stream_options.include_usage
        return bool(asked or self.wants_cost)

    @property
    def wants_cost(self) -> bool:
        """Whether usage includes the cost."""
        return bool(self.usage and self.usage.include)


class ServiceFields(Strict):
    """Fields about accounts, tiers and caches of OpenAI's service.

    Those that only advise its machinery are accepted without effect, because a client
    cannot leave them out and an answer is the same with them.
    """

    user: EndUser | None = None
    """Shares the engine fairly with the key's other end users; a field in the log."""
    safety_identifier: EndUser | None = None
    """Takes the place of ``user`` where that is absent."""
    metadata: Metadata | None = None
    """Belongs to what is stored; without effect on what is not."""
    service_tier: Literal["auto", "default", "flex", "scale", "priority", "fast"] | None = None
    """Without effect: there is one tier, and the answer names it (``default``)."""
    prompt_cache_key: Annotated[str, Field(max_length=1024)] | None = None
    """Without effect: it would choose among machines, and here prefixes are always cached."""
    prompt_cache_retention: Literal["in_memory", "24h"] | None = None
    """Without effect: a prefix is kept while there is space."""

    @property
    def end_user(self) -> str | None:
        """The client's own end user."""
        return self.user or self.safety_identifier
