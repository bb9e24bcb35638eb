"""Soft labels: the distribution of next tokens after short contexts, counted over a corpus.

The token that follows in a text is one sample of those that might have followed. The counts of a
whole corpus say more, so a short run learns from them with less noise. The smoothing is absolute
discounting (Ney, Essen and Kneser, 1994), each order falling back on the one before. The occurrence
that is predicted is left out of its own counts, because a rare context would give it away.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ingot.corpus import TokenStore
from ingot.errors import RecipeError

LARGEST_VOCABULARY = 1024  # a target is a number for every token
_DISCOUNT = 0.8

Ids = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class _Order:
    """Counts after contexts of one length, grouped by context."""

    contexts: Ids
    """Each context as one number, in ascending order, (C,)."""
    first: Ids
    """Where each context's followers begin, (C,)."""
    kinds: Ids
    """How many different tokens follow each, (C,)."""
    totals: Ids
    """How often each occurs, (C,)."""
    followers: Ids
    """Tokens that follow, context by context, (P,)."""
    counts: Ids
    """How often each follows, (P,)."""


class NgramSoftLabels:
    """N-gram distributions of each next token of a sequence.

    Args:
        store: The training tokens.
        vocab_size: Tokens there are.
        order: Longest context that is counted, in tokens.

    Raises:
        RecipeError: the vocabulary is too large, or so are its contexts.
    """

    def __init__(self, store: TokenStore, *, vocab_size: int, order: int) -> None:
        if vocab_size > LARGEST_VOCABULARY:
            raise RecipeError(
                f"works with at most {LARGEST_VOCABULARY} tokens, the corpus has {vocab_size}",
                where="task.ngram_order",
                fix="set it to 0, or choose a smaller vocabulary",
            )
        ids = store.read(0, len(store)).astype(np.int64)
        self._vocab_size = vocab_size
        self._used, ids = np.unique(ids, return_inverse=True)
        if order * math.log2(max(len(self._used), 2)) > 62:
            raise RecipeError(
                f"contexts of {order} tokens out of {len(self._used)} are too many to tell apart",
                where="task.ngram_order",
                fix="lower it",
            )
        self._rank = np.zeros(vocab_size, np.int64)
        self._rank[self._used] = np.arange(len(self._used))
        followers = ids[1:]
        seen = np.bincount(followers, minlength=len(self._used)) + 1
        self._unigram = seen / seen.sum()
        self._orders: list[_Order] = []
        key = np.zeros(len(ids), np.int64)
        for length in range(1, order + 1):
            self._extend(key[None], ids[None], length)
            self._orders.append(_count(key[length - 1 : -1], followers[length - 1 :]))

    def targets(self, sequences: Ids) -> Tensor:
        """Return the distribution of each next token of sequences (B, T+1): float32 (B·T, V)."""
        ranks = self._rank[sequences]
        inputs, followers = ranks[:, :-1], ranks[:, 1:].ravel()
        expected = np.repeat(self._unigram[None], inputs.size, axis=0)
        key = np.zeros(inputs.shape, np.int64)
        positions = np.arange(inputs.size).reshape(inputs.shape)
        for length, order in enumerate(self._orders, 1):
            self._extend(key, inputs, length)
            rows = positions[:, length - 1 :].ravel()
            _sharpen(expected, order, key.ravel()[rows], rows, followers[rows])
        targets = torch.zeros(inputs.size, self._vocab_size)
        targets[:, torch.from_numpy(self._used)] = torch.from_numpy(expected.astype(np.float32))
        return targets

    def _extend(self, key: Ids, ids: Ids, length: int) -> None:
        """Make keys of contexts (B, T) one token longer, in place, where there is one more."""
        key[:, length - 1 :] += ids[:, : ids.shape[1] - length + 1] * len(self._used) ** (
            length - 1
        )


def _count(contexts: Ids, followers: Ids) -> _Order:
    width = int(followers.max()) + 1
    distinct, context = np.unique(contexts, return_inverse=True)
    pairs, counts = np.unique(context * width + followers, return_counts=True)
    owner = pairs // width
    kinds = np.bincount(owner, minlength=len(distinct))
    totals = np.bincount(context, minlength=len(distinct))
    return _Order(distinct, np.cumsum(kinds) - kinds, kinds, totals, pairs % width, counts)


def _sharpen(expected: NDArray[np.float64], order: _Order, keys: Ids, rows: Ids, seen: Ids) -> None:
    """Lay the counts of one order over the distributions of the order before, in place.

    Args:
        expected: Distributions, one a row.
        order: The counts.
        keys: Context of each of ``rows``.
        rows: Rows of ``expected``.
        seen: The token that did follow in each, to be left out of the counts.
    """
    found = np.searchsorted(order.contexts, keys).clip(0, len(order.contexts) - 1)
    known = (order.contexts[found] == keys) & (order.totals[found] > 1)  # itself is not evidence
    found, rows, seen = found[known], rows[known], seen[known]
    kinds = order.kinds[found]
    owner = np.repeat(np.arange(len(found)), kinds)
    entry = np.repeat(order.first[found] - (np.cumsum(kinds) - kinds), kinds) + np.arange(
        kinds.sum()
    )
    counts = order.counts[entry] - (order.followers[entry] == seen[owner])
    totals = order.totals[found] - 1
    kept = np.bincount(owner, weights=counts > 0, minlength=len(found))
    mixed = expected[rows] * (_DISCOUNT * kept / totals)[:, None]
    mixed[owner, order.followers[entry]] += np.maximum(counts - _DISCOUNT, 0) / totals[owner]
    expected[rows] = mixed
