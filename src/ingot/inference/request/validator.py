"""Checks of a request against the model and its executor."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Callable
from collections.abc import Sequence as Seq
from functools import lru_cache, partial

from ingot.errors import UsageError
from ingot.inference.request.params import RequestOptions, SamplingParams
from ingot.inference.request.sequence import OutputDelta, Sequence
from ingot.model.tokenizer import Tokenizer

_NEUTRAL = SamplingParams()
_POOLING = SamplingParams(max_tokens=1)  # never sampled, but one token more than the prompt counts
_WORD_LISTS = 8  # lists of bad words whose tokens are kept: at most 1 MB each
_MASKING = ("min_tokens", "allowed_token_ids", "bad_words")
_ADJUSTING = (
    "repetition_penalty",
    "presence_penalty",
    "frequency_penalty",
    "logit_bias",
    "typical_p",
)


class RequestValidator:
    """Makes sequences of requests that the model can answer; any thread may use it.

    The ranges of values are checked where the values are made, see ``params``; this
    checks what depends on the vocabulary, the context and the executor.

    Args:
        tokenizer: Defines which token ids exist.
        max_context: Most tokens of prompt plus answer.
        features: What the executor supports, of ``FEATURES``.
    """

    def __init__(self, tokenizer: Tokenizer, max_context: int, features: frozenset[str]) -> None:
        self._vocabulary = tokenizer.vocab_size
        self._holes = frozenset(tokenizer.holes)
        self._max_context = max_context
        self._features = features
        self._ids = itertools.count()
        # The candidates of one request have the same words; to encode them takes milliseconds.
        self._bad_words = lru_cache(maxsize=_WORD_LISTS)(partial(_tokenized, tokenizer))

    def sequence(
        self,
        prompt_ids: Seq[int],
        params: SamplingParams | None,
        on_output: Callable[[OutputDelta], None],
        options: RequestOptions,
        written: Seq[int] = (),
    ) -> Sequence:
        """Return a sequence for a request.

        Args:
            prompt_ids: At least one token id.
            params: How to choose tokens; None asks for the mean of the hidden states instead.
            on_output: Receives the output.
            options: How to schedule it.
            written: The tokens with which its answer begins, if another engine began it.

        Raises:
            UsageError: a prompt or parameter that cannot be answered; ``where`` is its field.
        """
        if not prompt_ids:
            raise UsageError("is empty", where="prompt", fix="give at least one token")
        self._check_ids("prompt", prompt_ids)
        self._check_length(len(prompt_ids), pooling=params is None)
        if params is None:
            self._require("hidden", "embeddings")
            return Sequence(
                next(self._ids), tuple(prompt_ids), _POOLING, 0, on_output, options, pooling=True
            )
        self._check_params(params)
        seed = secrets.randbits(64) if params.seed is None else params.seed % 2**64
        words = self._bad_words(params.bad_words) if params.bad_words else ()
        sequence = Sequence(
            next(self._ids), tuple(prompt_ids), params, seed, on_output, options, words
        )
        if written:
            self._begin(sequence, written)
        return sequence

    def _begin(self, sequence: Sequence, written: Seq[int]) -> None:
        """Let an answer begin with tokens that another engine wrote."""
        params = sequence.params
        if params.seed is None or params.prompt_logprobs is not None:
            raise UsageError(
                "continue an answer only with its seed and without prompt_logprobs",
                where="written",
                fix="give the seed that the first engine used",
            )
        self._check_ids("written", written)
        most = min(params.max_tokens, self._max_context - len(sequence.prompt_ids))
        if len(written) >= most:
            raise UsageError(
                f"hold {len(written)} tokens, but the answer ends at {most}",
                where="written",
                fix="leave out the last ones",
            )
        for token_id in written:
            sequence.append(token_id)

    def _check_length(self, tokens: int, *, pooling: bool) -> None:
        """Refuse a prompt that leaves no space in the context for what is asked."""
        if tokens >= self._max_context + pooling:
            reserved = "" if pooling else " and must also hold the answer"
            raise UsageError(
                f"has {tokens} tokens, but the context holds {self._max_context}{reserved}",
                where="prompt",
                fix="shorten it",
            )

    def _check_ids(self, name: str, ids: Seq[int]) -> None:
        """Refuse anything but token ids that the tokenizer knows."""
        # Three passes in C: a loop in Python takes 5 ms for a prompt of 100,000 tokens.
        holes = self._holes
        if not ids or (
            set(map(type, ids)) == {int}
            and min(ids) >= 0
            and max(ids) < self._vocabulary
            and (not holes or holes.isdisjoint(ids))
        ):
            return
        for token_id in ids:
            known = type(token_id) is int and 0 <= token_id < self._vocabulary
            if not known or token_id in holes:
                raise UsageError(
                    f"{str(token_id)[:40]} is not a token id",
                    where=name,
                    fix=f"give whole numbers from 0 to {self._vocabulary - 1}",
                )

    def _check_params(self, params: SamplingParams) -> None:
        """Refuse tokens that the tokenizer lacks, and what the executor would ignore."""
        self._check_ids("logit_bias", [token_id for token_id, _ in params.logit_bias])
        self._check_ids("stop_token_ids", params.stop_token_ids)
        self._check_ids("allowed_token_ids", params.allowed_token_ids or ())
        for name in _MASKING:
            if getattr(params, name) != getattr(_NEUTRAL, name):
                self._require("mask", name)
        for name in _ADJUSTING:
            if getattr(params, name) != getattr(_NEUTRAL, name):
                self._require(name, name)
        if params.prompt_logprobs is not None:
            self._require("forced_token", "prompt_logprobs")
            self._require("verify_rows", "prompt_logprobs")
        if params.grammar is not None:
            self._require("mask", "grammar")

    def _require(self, feature: str, field: str) -> None:
        if feature not in self._features:
            raise UsageError(
                "is not supported by this executor",
                where=field,
                fix="leave it out, or use another executor",
            )


def _tokenized(tokenizer: Tokenizer, words: tuple[str, ...]) -> tuple[tuple[int, ...], ...]:
    """Return the token ids of bad words, each with and without a space before it.

    vLLM takes the form with a space only if it has as many tokens; then a word that is one token
    within a text, but several at its start, could still be written there.
    """
    found: list[tuple[int, ...]] = []
    for word in words:
        bare = tuple(tokenizer.encode(word.lstrip() or word, continues=True))
        spaced = tuple(tokenizer.encode(" " + word.lstrip(), continues=True))
        found.append(bare)
        found.append(spaced)
    return tuple(dict.fromkeys(found))
