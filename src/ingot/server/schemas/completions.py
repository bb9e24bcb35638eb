"""OpenAI's completions format: request and answer.

Answers are plain dataclasses, which orjson writes fastest.
Source: https://platform.openai.com/docs/api-reference/completions
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from ingot.inference import SamplingParams
from ingot.inference.request.grammar import Grammar
from ingot.inference.request.params import LogprobCount, TokenCount
from ingot.server.schemas.common import (
    MAX_CHOICES,
    GenerationFields,
    Prompt,
    ServiceFields,
    kind_of,
)


class CompletionRequest(GenerationFields, ServiceFields):
    """The body of ``POST /v1/completions``. Null means the default everywhere."""

    prompt: Prompt
    max_tokens: TokenCount | None = 16
    """0 only where the prompt is scored: write nothing."""
    add_special_tokens: bool | None = True
    """Begin a text with the token that begins the model's texts, where it has one."""
    best_of: Annotated[int, Field(ge=1, le=MAX_CHOICES)] | None = None
    """Generate this many answers and return the ``n`` with the highest mean log-probability."""
    logprobs: LogprobCount | None = None
    echo: bool | None = False
    """Begin the answer with the prompt; with ``logprobs``, score the prompt too."""
    suffix: Literal[""] | None = None
    """No model here fills in a middle, so a text is refused."""

    @property
    def choices_per_prompt(self) -> int:
        """Answers returned for each prompt."""
        return self.n or 1

    @property
    def candidates_per_prompt(self) -> int:
        """Answers generated for each prompt."""
        return self.best_of or self.choices_per_prompt

    @property
    def prompts(self) -> list[str] | list[list[int]]:
        """The prompts, as a list whatever form they came in."""
        prompt: Any = self.prompt
        return [prompt] if kind_of(prompt) in ("text", "ids") else prompt

    @property
    def scores_prompt(self) -> bool:
        """Whether the answer holds the prompt's log-probabilities."""
        return bool(self.echo) and self.logprobs is not None

    def sampling_params(
        self, choice: int, defaults: Mapping[str, float], grammar: Grammar | None = None
    ) -> SamplingParams:
        """Return how choice number ``choice`` of a prompt is sampled; as ``sampling``."""
        ranked = self.candidates_per_prompt > self.choices_per_prompt
        return self.sampling(
            choice,
            defaults,
            max_tokens=16 if self.max_tokens is None else self.max_tokens,
            logprobs=0 if ranked and self.logprobs is None else self.logprobs,
            prompt_logprobs=self.logprobs if self.scores_prompt else self.prompt_logprobs,
            grammar=grammar,
        )


@dataclass(frozen=True)
class Logprobs:
    r"""Log-probabilities of a choice's tokens; all lists have one entry for each token.

    A token that is not whole UTF-8 is written ``bytes:\xe2\x82``, as OpenAI does.
    """

    tokens: list[str]
    token_logprobs: list[float | None]
    """Null for the first token of a prompt, which nothing precedes."""
    top_logprobs: list[dict[str, float] | None]
    """The likeliest tokens and the chosen one, so at most one more than requested."""
    text_offset: list[int]
    """Where each token starts in the choice's text, in characters."""


@dataclass(frozen=True)
class Choice:
    """One answer, or in a stream its next part."""

    index: int
    """Index of the prompt times ``n``, plus index among its answers."""
    text: str
    logprobs: Logprobs | None
    finish_reason: Literal["stop", "length"] | None


@dataclass(frozen=True)
class PromptLogprob:
    """A token that might have stood at one position of a prompt, in vLLM's form."""

    logprob: float
    rank: int | None
    """1 for the likeliest; null for a token of the prompt that is not among those requested."""
    decoded_token: str


PromptLogprobs = list[dict[str, PromptLogprob] | None]
"""For each prompt token its own entry and the likeliest, by token id; null for the first."""


@dataclass(frozen=True)
class ScoredChoice(Choice):
    """An answer whose request has ``prompt_logprobs``."""

    prompt_logprobs: PromptLogprobs


@dataclass(frozen=True)
class PromptTokensDetails:
    """Details of the prompts' tokens."""

    cached_tokens: int
    """Those found in the prefix cache."""


@dataclass(frozen=True)
class CompletionTokensDetails:
    """Draft tokens of speculation."""

    accepted_prediction_tokens: int
    rejected_prediction_tokens: int


@dataclass(frozen=True)
class Usage:
    """Tokens of prompts and answers. A prompt counts once, however many answers it gets."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails
    completion_tokens_details: CompletionTokensDetails


@dataclass(frozen=True)
class CostDetails:
    """How the cost of a request is found."""

    compute_s: float
    """Engine's seconds for it; the tokens of a step share its time equally."""
    currency: str
    energy_joules: float | None
    """Null where the machine's power is not known."""
    energy_source: Literal["rapl", "watts"] | None
    """Measured by the processors, or estimated from the stated power."""


@dataclass(frozen=True)
class MeteredUsage(Usage):
    """Usage of a request that asked for its cost."""

    cost: float | None
    """Money; null where the server has no price."""
    cost_details: CostDetails


@dataclass(frozen=True)
class TimingReport:
    """Time of each phase in seconds, for the slowest answer."""

    queue_s: float
    prefill_s: float
    decode_s: float


@dataclass(frozen=True)
class Completion:
    """The answer to a request, or in a stream one chunk of it."""

    id: str
    created: int
    model: str
    system_fingerprint: str
    """Digest of the ingot whose weights generated this."""
    choices: list[ScoredChoice | Choice]
    usage: MeteredUsage | Usage | None
    timing: TimingReport | None
    """Sent together with ``usage``."""
    object: Literal["text_completion"] = "text_completion"


@dataclass(frozen=True)
class Model:
    """A served model."""

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
    """The served models."""

    data: list[Model]
    object: Literal["list"] = "list"


@dataclass(frozen=True)
class Health:
    """Whether the engines work."""

    status: Literal["ok", "failed"]
    digest: str
    """Of the first model."""
