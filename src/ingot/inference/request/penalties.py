"""Penalties and bias of one sequence, updated token by token."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ingot.inference.request.params import SamplingParams


class Adjustment(NamedTuple):
    """What penalties and bias do to the scores of some tokens, each named once.

    ``score / factor`` where the score is positive, ``score * factor`` where not, then
    ``+ shift``: in float64, then rounded to the nearest finite float32.
    """

    ids: NDArray[np.int32]
    """Token ids (n,), in any order; the tokenizer has them all."""
    factors: NDArray[np.float64]
    shifts: NDArray[np.float64]


class Penalties:
    """Changes to the scores from a sequence's history and bias; O(1) per token.

    The repetition penalty (CTRL, arXiv:1909.05858) counts prompt and answer, presence
    and frequency penalties (as OpenAI's interface defines them) the answer alone.

    Args:
        params: The penalties and the bias.
        prompt_ids: The prompt.
    """

    def __init__(self, params: SamplingParams, prompt_ids: Iterable[int]) -> None:
        self._params = params
        self._bias = dict(params.logit_bias)
        self._prompt = set(prompt_ids) if params.repetition_penalty != 1 else set[int]()
        self._counts: Counter[int] = Counter()
        self._slots: dict[int, int] = {}
        self._ids = np.empty(0, np.int32)
        self._factors = np.empty(0, np.float64)
        self._shifts = np.empty(0, np.float64)
        for token_id in sorted(self._prompt | self._bias.keys()):
            self._update(token_id)

    def append(self, token_id: int) -> None:
        """Add the next token of the answer."""
        self._counts[token_id] += 1
        self._update(token_id)

    def rollback(self, token_id: int) -> None:
        """Undo a token of the answer."""
        self._counts[token_id] -= 1
        self._update(token_id)

    def adjustment(self) -> Adjustment:
        """Return a copy of what is to be done now."""
        count = len(self._slots)
        return Adjustment(
            self._ids[:count].copy(), self._factors[:count].copy(), self._shifts[:count].copy()
        )

    def _update(self, token_id: int) -> None:
        params, count = self._params, self._counts[token_id]
        slot = self._slots.setdefault(token_id, len(self._slots))
        if slot == self._ids.size:
            self._ids = _doubled(self._ids)
            self._factors = _doubled(self._factors)
            self._shifts = _doubled(self._shifts)
        self._ids[slot] = token_id
        seen = count > 0 or token_id in self._prompt
        self._factors[slot] = params.repetition_penalty if seen else 1.0
        presence = params.presence_penalty if count else 0.0
        bias = self._bias.get(token_id, 0.0)
        self._shifts[slot] = bias - presence - params.frequency_penalty * count


def needs_penalties(params: SamplingParams) -> bool:
    """Return whether the parameters ever change a score."""
    return bool(
        params.logit_bias
        or params.presence_penalty
        or params.frequency_penalty
        or params.repetition_penalty != 1
    )


def _doubled(values: NDArray[Any]) -> NDArray[Any]:
    return np.concatenate([values, np.empty(max(values.size, 16), values.dtype)])
