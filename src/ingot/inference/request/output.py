"""Output of one sequence: from sampled tokens to the deltas that its receiver gets."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ingot.inference.request.detokenizer import Detokenizer
from ingot.inference.request.penalties import Penalties, needs_penalties
from ingot.inference.request.sequence import (
    FinishReason,
    OutputDelta,
    SampledToken,
    Sequence,
    Timing,
    TokenLogprob,
)
from ingot.inference.request.token_rules import TokenRules
from ingot.inference.request.utf8 import Utf8Tables
from ingot.model.tokenizer import Tokenizer

_NOTHING = OutputDelta("", ())


class StepOutput(NamedTuple):
    """Output of one sequence in one step."""

    delta: OutputDelta
    reason: FinishReason | None
    """Why the answer ends here; None if it continues."""
    accepted: int
    """Draft tokens that were accepted into the answer."""
    again: bool = False
    """Whether the token after these was rejected and must be sampled once more."""


class SequenceOutput:
    """Output of a sequence and all state that depends on it; survives preemption.

    Args:
        sequence: The sequence.
        tokenizer: Turns tokens into text.
        max_context: Most tokens of prompt plus answer.
        utf8: UTF-8 over the tokenizer's tokens; None where the executor takes no masks.
    """

    __slots__ = (
        "_accepted",
        "_ends",
        "_first_token",
        "_keeps_stop",
        "_last",
        "_min_tokens",
        "_pooled",
        "_sequence",
        "_text",
        "drafted",
        "draftless",
        "grammar",
        "penalties",
        "rules",
        "scored",
        "started",
    )

    def __init__(
        self,
        sequence: Sequence,
        tokenizer: Tokenizer,
        max_context: int,
        utf8: Utf8Tables | None = None,
    ) -> None:
        params = sequence.params
        self._sequence = sequence
        self._ends = frozenset(params.stop_token_ids)
        if not params.ignore_eos:
            self._ends |= tokenizer.stop_ids
        self._min_tokens = params.min_tokens
        self._keeps_stop = params.include_stop_str_in_output
        self.rules: TokenRules | None = None
        if utf8 is not None and not sequence.pooling:
            self.rules = TokenRules(sequence, utf8, self._ends)
        self._text = Detokenizer(
            tokenizer,
            params.stop,
            keep_stop=self._keeps_stop,
            opened=self.rules.opened if self.rules else b"",
            # A grammar has to do with every byte, also with a space that the tokenizer put there.
            begins=params.grammar is None and tokenizer.begins_text(sequence.prompt_ids),
        )
        self._last = min(params.max_tokens, max_context - len(sequence.prompt_ids))
        """Tokens of the longest answer."""
        self._pooled: NDArray[np.float64] | None = None
        self._first_token: float | None = None
        self._accepted = 0
        self.started: float | None = None
        """``time.monotonic()`` of its first step."""
        self.drafted = 0
        """Draft tokens so far."""
        self.draftless = False
        """Whether the next step must run without draft tokens, because one with them failed."""
        self.penalties = Penalties(params, sequence.prompt_ids) if needs_penalties(params) else None
        self.grammar = params.grammar.start() if params.grammar else None
        self.scored: list[TokenLogprob | None] | None = None
        """Log-probabilities of the prompt as far as known; None: not requested, or reported."""
        if params.prompt_logprobs is not None:
            self.scored = [None]
        for count, token_id in enumerate(sequence.output_ids, 1):  # written elsewhere
            self._follows_rules(token_id)
            self._advance(token_id, count)

    @property
    def most_drafts(self) -> int:
        """Most draft tokens that can be used: the answer has space for them and one more."""
        if self.draftless or self.retry:
            return 0
        return self._last - len(self._sequence.output_ids) - 1

    @property
    def retry(self) -> bool:
        """Whether the next token is sampled once more, after one that was rejected."""
        return self.rules is not None and self.rules.retry

    def mask(self) -> NDArray[np.uint32] | None:
        """Return which tokens may be next; None for all.

        Raises:
            ServeError: none may be, or the grammar is too costly to follow further.
        """
        if self.grammar is None:
            return None if self.rules is None else self.rules.mask()
        grammar = self.grammar.mask()
        return grammar if self.rules is None else self.rules.mask(grammar)

    def ends_with(self, token_id: int) -> bool:
        """Return whether a token would end the answer."""
        return token_id in self._ends

    def speculate(self, token_id: int) -> bool:
        """Advance by a draft token; return whether grammar and rules allow it."""
        if self.rules is not None and not self.rules.allows(token_id):
            return False
        if self.grammar is not None and not self.grammar.accept(token_id):
            return False
        if self.penalties is not None:
            self.penalties.append(token_id)
        if self.rules is not None:
            self.rules.advance(token_id, masked=True)
        return True

    def rollback(self, token_ids: list[int]) -> None:
        """Undo ``speculate`` of these tokens."""
        if self.grammar is not None:
            self.grammar.rollback(len(token_ids))
        if self.penalties is not None:
            for token_id in token_ids:
                self.penalties.rollback(token_id)
        if self.rules is not None:
            self.rules.rollback(len(token_ids))

    def take(self, sampled: SampledToken, drafts: tuple[int, ...], now: float) -> StepOutput | None:
        """Take the tokens sampled after the known tokens and after each draft token.

        A draft token is accepted if it is the token sampled; samples after the first that is
        not are discarded.

        Returns:
            The output; None if only scores of the prompt were computed.

        Raises:
            ServeError: the answer's grammar is too costly to follow further.
        """
        self.draftless = False
        if self.scored is None and not drafts:
            return self._take_one(sampled, now)
        draws = self._score(sampled)
        if not draws:
            return None
        if self._first_token is None:
            self._first_token = now
        tokens: list[int] = []
        text, reason, accepted, again = "", None, 0, False
        for index, one in enumerate(draws):
            token_id = one.token_id
            if reason := self._ends_before(token_id):
                break
            if again := not self._follows_rules(token_id):
                break
            tokens.append(token_id)
            text += self._keep(token_id)
            right = index < len(drafts) and token_id == drafts[index]
            accepted += right
            reason = self._ends_after(token_id)
            if reason or not right:
                break
        self._accepted += accepted
        logprobs = [one.logprob for one in draws[: len(tokens)] if one.logprob is not None]
        delta = OutputDelta(text, tuple(tokens), tuple(logprobs), None, None, self._say_scores())
        return StepOutput(delta, reason, accepted, again)

    def pool(self, states: NDArray[np.float32], *, first: bool, last: bool) -> StepOutput | None:
        """Add hidden states (tokens, hidden) of the prompt, in order.

        Args:
            states: The next of them.
            first: Whether the prompt begins with them; what came before is forgotten.
            last: Whether it ends with them, so that the mean can be said.
        """
        total = states.sum(axis=0, dtype=np.float64)
        self._pooled = total if first or self._pooled is None else self._pooled + total
        if not last:
            return None
        mean = (self._pooled / len(self._sequence.prompt_ids)).astype(np.float32)
        return StepOutput(OutputDelta("", (), embedding=mean), "stop", 0)

    def last_delta(
        self, delta: OutputDelta | None, reason: FinishReason, now: float, error: str | None
    ) -> OutputDelta:
        """Return the last delta: ``delta``, and the text that was held back."""
        delta = delta or _NOTHING
        return delta._replace(
            text=delta.text + self._text.flush(),
            finish_reason=reason,
            error=error,
            timing=self._timing(now),
        )

    def _take_one(self, sampled: SampledToken, now: float) -> StepOutput:
        """Take one sampled token: most steps, at a third of the time of the general case."""
        if self._first_token is None:
            self._first_token = now
        token_id = sampled.token_id
        if reason := self._ends_before(token_id):
            return StepOutput(_NOTHING, reason, 0)
        if self.rules is not None and not self._follows_rules(token_id):
            return StepOutput(_NOTHING, None, 0, again=True)
        text = self._keep(token_id)
        logprobs = () if sampled.logprob is None else (sampled.logprob,)
        delta = OutputDelta(text, (token_id,), logprobs)
        return StepOutput(delta, self._ends_after(token_id), 0)

    def _score(self, sampled: SampledToken) -> tuple[SampledToken, ...]:
        """Store the scores of the prompt; return the sampled tokens."""
        entries = (*sampled.verified, sampled)
        if self.scored is None:
            return entries
        missing = len(self._sequence.prompt_ids) - len(self.scored)
        self.scored.extend(one.logprob for one in entries[:missing])
        return entries[missing:]

    def _say_scores(self) -> tuple[TokenLogprob | None, ...]:
        """Return the scores of the prompt's tokens if they were not reported yet."""
        if self.scored is None:
            return ()
        scored, self.scored = tuple(self.scored), None
        self._sequence.may_reuse = True
        return scored

    def _ends_before(self, token_id: int) -> FinishReason | None:
        """Return why a token ends the answer without being part of it, or None."""
        if self._last == 0:  # before the token is looked at: it was not asked for
            return "length"
        return "stop" if token_id in self._ends and not self._keeps_stop else None

    def _follows_rules(self, token_id: int) -> bool:
        """Advance the rules by a sampled token; return False if it must be sampled again."""
        return self.rules is None or self.rules.advance(token_id, masked=self.grammar is not None)

    def _keep(self, token_id: int) -> str:
        """Append a token to the answer; return the text that is now final."""
        self._sequence.append(token_id)
        return self._advance(token_id, len(self._sequence.output_ids))

    def _advance(self, token_id: int, count: int) -> str:
        """Advance what depends on the answer by its token number ``count``; return its text."""
        if self.penalties is not None:
            self.penalties.append(token_id)
        if self.grammar is not None:
            self.grammar.accept(token_id)
        if self._min_tokens >= count:
            return self._text.push(token_id, may_stop=False)
        return self._text.push(token_id)

    def _ends_after(self, token_id: int) -> FinishReason | None:
        """Return why the answer ends with its last token, or None."""
        if token_id in self._ends:  # kept, as the request asks
            return "stop"
        if self._text.stopped or (self.grammar is not None and self.grammar.complete):
            return "stop"
        return "length" if len(self._sequence.output_ids) >= self._last else None

    def _timing(self, now: float) -> Timing:
        sequence = self._sequence
        started = now if self.started is None else self.started
        first_token = now if self._first_token is None else self._first_token
        return Timing(
            queue_s=started - sequence.arrived,
            prefill_s=first_token - started,
            decode_s=now - first_token,
            cached_tokens=sequence.cached_tokens or 0,
            drafted_tokens=self.drafted,
            accepted_tokens=self._accepted,
            in_time=sequence.timeliness.kept if sequence.timeliness else None,
        )
