"""Which tokens the next one may be: UTF-8, and what the request allows and forbids."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from ingot.errors import ServeError
from ingot.inference.request.sequence import Sequence
from ingot.inference.request.utf8 import INVALID, START, Utf8Tables

_Mask = NDArray[np.uint32]


class TokenRules:
    """Rules for the tokens of one answer, updated token by token.

    Between two characters nearly every token is valid UTF-8, and a mask would cost the executor a
    scan of the vocabulary for each row. So none is given there: the rare token that breaks a
    character is rejected and sampled once more, with a mask and another random number. Which
    tokens come out, and how likely, is the same as if they had been masked from the start.

    What the request forbids is strict. UTF-8 and ``min_tokens`` yield where they would leave no
    token at all.

    Args:
        sequence: The prompt, the parameters and the words that are not allowed.
        tables: UTF-8 over the tokenizer's tokens.
        ends: Tokens that end the answer.
    """

    __slots__ = (
        "_after",
        "_bad_words",
        "_base",
        "_ends",
        "_is_plain",
        "_min_tokens",
        "_states",
        "_tables",
        "_tokens",
        "opened",
        "retry",
    )

    def __init__(self, sequence: Sequence, tables: Utf8Tables, ends: Iterable[int]) -> None:
        params = sequence.params
        self._tables = tables
        self._after = tables.states_after
        state, self.opened = tables.after_prompt(sequence.prompt_ids)
        """``opened``: bytes of a character that the prompt begins and the answer completes."""
        self._states = bytearray([state])
        """The state of UTF-8 before each token of the answer, and after the last."""
        self._min_tokens = params.min_tokens
        self._ends = tuple(ends) if params.min_tokens else ()
        self._bad_words = sequence.bad_words
        self._tokens: list[int] = []
        """Tokens of the answer, kept where words are forbidden."""
        self._base = _base(params.allowed_token_ids, self._bad_words, tables.everything)
        self._is_plain = self._base is None and not self._bad_words and not self._min_tokens
        """Whether UTF-8 is the only rule, from the first token to the last."""
        self.retry = False
        """Whether the last token sampled was rejected, so that the next one is masked."""

    def advance(self, token_id: int, *, masked: bool = False) -> bool:
        """Advance by a token of the answer, or by a draft token.

        Args:
            token_id: The token.
            masked: Whether a grammar's mask applied to it.

        Returns:
            False if the token breaks a character and must be sampled again, which ``mask`` then
            takes into account. Nothing has changed otherwise.
        """
        states = self._states
        after = self._after[states[-1]][token_id]
        if after == INVALID:
            if not masked and self._is_free:
                self.retry = True
                return False
            after = START  # a broken character is in an answer only where nothing else is allowed
        states.append(after)
        self.retry = False
        if self._bad_words:
            self._tokens.append(token_id)
        return True

    def rollback(self, count: int) -> None:
        """Undo ``advance`` by the last tokens."""
        if count:
            del self._states[-count:]
            del self._tokens[-count:]

    def allows(self, token_id: int) -> bool:
        """Return whether a draft token may be next, as far as these rules decide."""
        if self._is_free:
            return self._tables.after(START, token_id) != INVALID
        try:
            mask = self.mask()
        except ServeError:  # no token may: a draft then changes nothing
            return False
        if mask is None:
            return True
        return bool(mask[token_id // 32] >> np.uint32(token_id % 32) & 1)

    def mask(self, grammar: _Mask | None = None) -> _Mask | None:
        """Return which tokens may be next; None for all.

        Args:
            grammar: Which tokens a grammar allows.

        Raises:
            ServeError: the request's own rules leave no token.
        """
        state = self._states[-1]
        if self._is_plain and state == START and grammar is None and not self.retry:
            return None  # nearly every row
        if grammar is None and self._is_free:
            return None
        strict = self._strict()
        allowed = grammar if strict is None else strict if grammar is None else strict & grammar
        utf8 = self._tables.masks[state]
        masks = [utf8 if allowed is None else allowed & utf8]
        if self._short:
            masks.insert(0, _without(masks[0], self._ends))
        if allowed is not None:
            masks.append(allowed)
        for mask in masks:
            if mask.any():
                return mask
        raise ServeError("leave no token", where="allowed_token_ids, bad_words and the grammar")

    @property
    def _is_free(self) -> bool:
        """Whether nothing but UTF-8 between two characters restricts the next token."""
        return (
            not self._states[-1]  # START
            and self._base is None
            and not self.retry
            and not self._bad_words
            and len(self._states) > self._min_tokens
        )

    @property
    def _short(self) -> bool:
        """Whether the answer has too few tokens to end."""
        return len(self._states) <= self._min_tokens

    def _strict(self) -> _Mask | None:
        """Return which tokens the request allows at all; None for all."""
        if not self._bad_words:
            return self._base
        last = [
            word[-1]
            for word in self._bad_words
            if 1 < len(word) <= len(self._tokens) + 1
            and self._tokens[1 - len(word) :] == list(word[:-1])
        ]
        if not last:
            return self._base
        base = self._base
        return _without(self._tables.everything if base is None else base, last)


def _base(
    allowed: tuple[int, ...] | None, bad_words: Iterable[tuple[int, ...]], everything: _Mask
) -> _Mask | None:
    """Return the tokens that are always allowed, without bad words of one token; None for all."""
    single = [word[0] for word in bad_words if len(word) == 1]
    if allowed is None and not single:
        return None
    if allowed is None:
        return _without(everything, single)
    bits = np.zeros(everything.size * 32, np.bool_)
    bits[list(allowed)] = True
    bits[single] = False
    return np.packbits(bits, bitorder="little").view(np.uint32)


def _without(mask: _Mask, token_ids: Iterable[int]) -> _Mask:
    """Return a copy of a mask without some tokens."""
    copy = mask.copy()
    for token_id in token_ids:
        copy[token_id // 32] &= ~np.uint32(1 << token_id % 32)
    return copy
