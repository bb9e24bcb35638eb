"""Sampling parameters and request options, with the range of every value.

The HTTP schemas take their ranges from here, so that there is one of each.
"""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import ConfigDict, Field, ValidationError, ValidatorFunctionWrapHandler
from pydantic import model_validator as _model_validator
from pydantic.dataclasses import dataclass

from ingot.errors import UsageError, invalid_field
from ingot.inference.request.grammar import Grammar
from ingot.inference.request.objective import Objective

MAX_BIASES = 1024
MAX_STOPS = 16
MAX_ALLOWED = 8192
MAX_BAD_WORDS = 64
_MAX_INT32 = 2**31 - 1

Temperature = Annotated[float, Field(ge=0, le=10)]
TopK = Annotated[int, Field(ge=0, le=_MAX_INT32)]
MinP = Annotated[float, Field(ge=0, le=1)]
ProbabilityMass = Annotated[float, Field(gt=0, le=1)]
"""Range of ``top_p`` and ``typical_p``; 0 would leave no token."""
RepetitionPenalty = Annotated[float, Field(ge=0.1, le=10)]
AdditivePenalty = Annotated[float, Field(ge=-2, le=2)]
Bias = Annotated[float, Field(ge=-100, le=100)]
Seed = Annotated[int, Field(ge=-(2**63), le=2**64 - 1)]
TokenId = Annotated[int, Field(ge=0, le=_MAX_INT32)]
TokenCount = Annotated[int, Field(ge=0, le=_MAX_INT32)]
LogprobCount = Annotated[int, Field(ge=0, le=20)]
StopText = Annotated[str, Field(min_length=1, max_length=1000)]
BadWord = Annotated[str, Field(min_length=1, max_length=256)]
Priority = Annotated[int, Field(ge=-(2**31), le=_MAX_INT32)]
Timeout = Annotated[float, Field(gt=0, le=86_400)]
"""Seconds, at most a day."""
_Name = Annotated[str, Field(max_length=256)]

_STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, arbitrary_types_allowed=True)


@dataclass(frozen=True, config=_STRICT)
class SamplingParams:
    """How tokens are chosen, and when the answer ends.

    Raises:
        UsageError: a value of the wrong type or out of its range; ``where`` is its field.
    """

    max_tokens: TokenCount = 256
    """Most tokens to generate; 0 only with ``prompt_logprobs``."""
    temperature: Temperature = 1.0
    """0 is greedy; higher is more varied."""
    top_p: ProbabilityMass = 1.0
    """Keep the likeliest tokens that together hold this much probability."""
    top_k: TopK = 0
    """Keep this many of the likeliest tokens; 0 keeps all."""
    min_p: MinP = 0.0
    """Drop tokens less likely than this fraction of the likeliest."""
    typical_p: ProbabilityMass = 1.0
    """Keep the tokens whose surprise is nearest to the entropy and that together hold this
    much probability."""
    repetition_penalty: RepetitionPenalty = 1.0
    """Divide positive scores of tokens in prompt or answer by this, multiply negative ones."""
    presence_penalty: AdditivePenalty = 0.0
    """Subtract this from the score of every token that the answer holds."""
    frequency_penalty: AdditivePenalty = 0.0
    """Subtract this from a token's score for each time that the answer holds it."""
    logit_bias: Annotated[tuple[tuple[TokenId, Bias], ...], Field(max_length=MAX_BIASES)] = ()
    """Token ids and what is added to their scores, after the penalties."""
    seed: Seed | None = None
    """Same seed, prompt and ingot: same tokens. None draws a fresh seed."""
    stop: Annotated[tuple[StopText, ...], Field(max_length=MAX_STOPS)] = ()
    """Texts that end the answer; not part of it."""
    stop_token_ids: Annotated[tuple[TokenId, ...], Field(max_length=MAX_STOPS)] = ()
    """Tokens that end the answer; not part of it."""
    min_tokens: TokenCount = 0
    """Tokens before any token or text may end the answer; a complete grammar still does."""
    include_stop_str_in_output: bool = False
    """Keep the text or token that ended the answer as part of it."""
    allowed_token_ids: (
        Annotated[tuple[TokenId, ...], Field(min_length=1, max_length=MAX_ALLOWED)] | None
    ) = None
    """The only tokens that may be generated; None for all."""
    bad_words: Annotated[tuple[BadWord, ...], Field(max_length=MAX_BAD_WORDS)] = ()
    """Words that may not be generated: the last token of one is forbidden where the answer ends
    with the others. As in vLLM each is tokenized with and without a space before it."""
    ignore_eos: bool = False
    """Continue past the end-of-text token."""
    logprobs: LogprobCount | None = None
    """Report the chosen log-probability and this many of the likeliest; None for neither."""
    prompt_logprobs: LogprobCount | None = None
    """The same for the prompt's own tokens, on the first delta; None for neither."""
    grammar: Grammar | None = None
    """A compiled grammar that the answer follows."""

    @_model_validator(mode="wrap")
    @classmethod
    def _name_the_field(cls, given: Any, check: ValidatorFunctionWrapHandler) -> Self:
        params: Self = _checked(given, check)
        params._check_together()
        return params

    def _check_together(self) -> None:
        """Refuse values that are right alone but not together."""
        if self.max_tokens == 0 and self.prompt_logprobs is None:
            raise UsageError(
                "must be at least 1 without prompt_logprobs, got 0",
                where="max_tokens",
                fix="raise it",
            )
        if self.min_tokens > self.max_tokens:
            raise UsageError(
                f"must be at most max_tokens ({self.max_tokens}), got {self.min_tokens}",
                where="min_tokens",
                fix="lower it",
            )
        if len({token_id for token_id, _ in self.logit_bias}) < len(self.logit_bias):
            raise UsageError("names a token twice", where="logit_bias", fix="give each token once")
        if self.grammar is not None and self.ignore_eos:
            raise UsageError(
                "cannot be combined with a grammar, which ends the answer itself",
                where="ignore_eos",
                fix="leave it out",
            )


@dataclass(frozen=True, config=_STRICT)
class RequestOptions:
    """How the engine schedules a request beside the others.

    Raises:
        UsageError: a value of the wrong type or out of its range; ``where`` is its field.
    """

    timeout_s: Timeout | None = None
    """Seconds after which the request ends with reason "deadline"; None: never."""
    priority: Priority = 0
    """Orders the requests of one tenant: lower runs first, and may preempt higher."""
    cache_salt: _Name = ""
    """Only requests with the same salt share cached prefixes."""
    tenant: _Name = ""
    """Whose work it is: the tenant served least is next, whatever its requests' priorities."""
    user: _Name = ""
    """The tenant's own user: of its requests of equal priority, the user served least is next."""
    tenant_priority: Priority = 0
    """Orders the tenants, before service: lower runs first. For the operator, not for clients."""
    background: bool = False
    """Run only while nothing else can run, and give way to it at any time."""
    objective: Objective | None = None
    """The latency that the answer is held to; None: it uses what other answers leave."""
    late_allowed: bool = False
    """Whether the request is accepted although it would miss its objective."""
    elapsed_s: Annotated[float, Field(ge=0)] = 0.0
    """Seconds that the request took before it reached the engine; they count in its objective."""

    @_model_validator(mode="wrap")
    @classmethod
    def _name_the_field(cls, given: Any, check: ValidatorFunctionWrapHandler) -> Self:
        options: Self = _checked(given, check)
        return options


def _checked(given: Any, check: ValidatorFunctionWrapHandler) -> Any:
    """Validate, with pydantic's error as one line that names the field."""
    try:
        return check(given)
    except ValidationError as error:
        first = invalid_field(error)
        name = first.path.partition("[")[0]
        problem = first.problem.removeprefix(first.path).lstrip(": ")
        raise UsageError(problem, where=name, fix=first.fix) from error
