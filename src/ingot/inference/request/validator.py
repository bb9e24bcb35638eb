"""From what a caller asks to a sequence, with everything refused that cannot be answered."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Callable
from collections.abc import Sequence as Seq
from dataclasses import dataclass, replace

from ingot.errors import UsageError
from ingot.inference.request.sequence import OutputDelta, SamplingParams, Sequence
from ingot.inference.request.validation import validate
from ingot.model.tokenizer import Tokenizer

_MAX_NAME = 256  # characters of a salt or tenant
_MAX_PRIORITY = (1 << 31) - 1
_NEUTRAL = SamplingParams()
_ADJUSTING = (
    "repetition_penalty",
    "presence_penalty",
    "frequency_penalty",
    "logit_bias",
    "typical_p",
)


@dataclass(frozen=True)
class Standing:
    """How a sequence stands to the others."""

    deadline: float | None = None
    """``time.monotonic()`` after which it ends with reason "deadline"."""
    priority: int = 0
    """Lower runs first."""
    cache_salt: str = ""
    """Only sequences with the same salt share cached prefixes."""
    tenant: str = ""
    """Whom it counts against where many want to run."""


class RequestValidator:
    """Makes sequences; any thread may.

    Args:
        tokenizer: Says which token ids there are.
        max_context: Most tokens of prompt plus answer.
        features: What the executor offers, of ``FEATURES``.
    """

    def __init__(self, tokenizer: Tokenizer, max_context: int, features: frozenset[str]) -> None:
        self._vocabulary = tokenizer.vocab_size
        self._max_context = max_context
        self._features = features
        self._ids = itertools.count()

    def sampling(
        self,
        prompt_ids: Seq[int],
        params: SamplingParams,
        on_output: Callable[[OutputDelta], None],
        standing: Standing,
    ) -> Sequence:
        """Return a sequence that asks for an answer.

        Raises:
            UsageError: a prompt or parameter that cannot be answered.
        """
        validate(params)
        self._check_features(params)
        for name, tokens in (
            ("logit_bias", [token_id for token_id, _ in params.logit_bias]),
            ("stop_token_ids", params.stop_token_ids),
        ):
            self._check_ids(name, tokens)
        if len(prompt_ids) >= self._max_context:
            raise UsageError(
                f"has {len(prompt_ids)} tokens, and the context of {self._max_context} must "
                "also hold the answer",
                where="prompt",
                fix="send a shorter one",
            )
        return self._sequence(prompt_ids, params, on_output, standing)

    def pooling(
        self, prompt_ids: Seq[int], on_output: Callable[[OutputDelta], None], standing: Standing
    ) -> Sequence:
        """Return a sequence that asks for the mean of the hidden states.

        Raises:
            UsageError: a prompt that cannot be run, or an executor without hidden states.
        """
        self._require("hidden", "embeddings")
        if len(prompt_ids) > self._max_context:
            raise UsageError(
                f"has {len(prompt_ids)} tokens, more than the context of {self._max_context}",
                where="prompt",
                fix="send a shorter one",
            )
        # One more token counts than is ever run, so the prompt alone must fit.
        params = replace(_NEUTRAL, max_tokens=1)
        return self._sequence(prompt_ids, params, on_output, standing, pooling=True)

    def _sequence(
        self,
        prompt_ids: Seq[int],
        params: SamplingParams,
        on_output: Callable[[OutputDelta], None],
        standing: Standing,
        *,
        pooling: bool = False,
    ) -> Sequence:
        if not prompt_ids:
            raise UsageError("is empty", where="prompt", fix="give at least one token")
        self._check_ids("prompt", prompt_ids)
        _check_standing(standing)
        return Sequence(
            next(self._ids),
            tuple(prompt_ids),
            params,
            secrets.randbits(64) if params.seed is None else params.seed,
            on_output,
            standing.deadline,
            standing.priority,
            standing.cache_salt,
            standing.tenant,
            pooling,
        )

    def _check_ids(self, name: str, ids: Seq[int]) -> None:
        """Refuse anything but token ids that the tokenizer knows."""
        vocabulary = self._vocabulary
        for token_id in ids:
            if type(token_id) is not int or not 0 <= token_id < vocabulary:
                raise UsageError(
                    f"{str(token_id)[:40]} is not a token id",
                    where=name,
                    fix=f"give whole numbers from 0 to {vocabulary - 1}",
                )

    def _check_features(self, params: SamplingParams) -> None:
        """Refuse what the executor would ignore."""
        for name in _ADJUSTING:
            if getattr(params, name) != getattr(_NEUTRAL, name):
                self._require(name, name)
        if params.prompt_logprobs is not None:
            self._require("given", "prompt_logprobs")
            self._require("earlier", "prompt_logprobs")
        if params.grammar is not None:
            self._require("mask", "grammar")

    def _require(self, feature: str, field: str) -> None:
        if feature not in self._features:
            raise UsageError(
                "is not offered by this executor",
                where=field,
                fix="leave it out, or use another executor",
            )


def _check_standing(standing: Standing) -> None:
    priority = standing.priority
    if type(priority) is not int or abs(priority) > _MAX_PRIORITY:
        raise UsageError(
            f"{str(priority)[:40]} is not allowed",
            where="priority",
            fix=f"give a whole number from {-_MAX_PRIORITY} to {_MAX_PRIORITY}",
        )
    for name, text in (("cache_salt", standing.cache_salt), ("tenant", standing.tenant)):
        if not isinstance(text, str) or len(text) > _MAX_NAME:
            raise UsageError(
                "is not a short text", where=name, fix=f"give at most {_MAX_NAME} characters"
            )
