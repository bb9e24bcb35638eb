"""Reference implementation of sampling.

The filters apply in this order, each to the tokens that the one before it kept: penalties
and bias, the mask, temperature, top-k, top-p (arXiv:1904.09751), min-p
(arXiv:2407.01082), typical sampling (arXiv:2202.00666). One token is sampled from the
rest. The random number is a function of (seed, position) alone, so the result depends
neither on the batch nor on scheduling. Every executor must sample the same token.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ingot.errors import ServeError
from ingot.inference.executors.base import SamplingRow
from ingot.inference.request.params import SamplingParams
from ingot.inference.request.penalties import Adjustment
from ingot.inference.request.sequence import SampledToken, TokenLogprob

_FIRST_NUCLEUS = 64  # candidates ranked first: top-p seldom needs more, and a full sort is slow
_LARGEST = float(np.finfo(np.float32).max)


def draw(logits: NDArray[np.float32], row: SamplingRow) -> SampledToken:
    """Sample the token at ``row.position``, or report on the one that is forced.

    Args:
        logits: float32 scores (vocab,).
        row: How to sample. Of equal scores, the lower id counts as likelier.

    Raises:
        ServeError: a score is not finite, or the mask allows no token.
    """
    if not np.isfinite(logits).all():
        bad = int(np.count_nonzero(~np.isfinite(logits)))
        raise not_finite(f"{bad} of {logits.size} scores", row.position)
    count = row.params.logprobs
    if row.forced_token is not None:
        return SampledToken(row.forced_token, _logprob(logits, row.forced_token, count or 0))
    token_id = _choose(logits, row)
    return SampledToken(token_id, None if count is None else _logprob(logits, token_id, count))


def not_finite(what: str, position: int) -> ServeError:
    """Return the error of a sequence whose values are not finite at a position."""
    return ServeError(
        f"{what} are not finite at position {position}",
        where="model",
        fix="verify the ingot; its weights may have been damaged or diverged in training",
    )


def none_allowed(position: int) -> ServeError:
    """Return the error of a sequence whose mask allows no token at a position."""
    return ServeError(f"allows no token at position {position}", where="grammar")


def _choose(logits: NDArray[np.float32], row: SamplingRow) -> int:
    if row.adjustment is not None:
        logits = adjust(logits, row.adjustment)
    if row.mask is not None:
        logits = _masked(logits, row.mask, row.position)
    if row.params.temperature == 0:
        return int(logits.argmax())
    return _sample(logits, row.params, _uniform(row.seed, row.position))


def adjust(logits: NDArray[np.float32], adjustment: Adjustment) -> NDArray[np.float32]:
    """Return scores after penalties and bias, kept finite."""
    ids, factors, shifts = adjustment
    scores = logits[ids].astype(np.float64)
    scores = np.where(scores > 0, scores / factors, scores * factors) + shifts
    adjusted = logits.copy()
    adjusted[ids] = scores.clip(-_LARGEST, _LARGEST)
    return adjusted


def _masked(
    logits: NDArray[np.float32], mask: NDArray[np.uint32], position: int
) -> NDArray[np.float32]:
    """Return scores with those that the mask does not allow at minus infinity."""
    bits = np.unpackbits(mask.view(np.uint8), count=logits.size, bitorder="little")
    if not bits.any():
        raise none_allowed(position)
    return np.where(bits.view(np.bool_), logits, np.float32(-np.inf))


def _sample(logits: NDArray[np.float32], params: SamplingParams, number: float) -> int:
    """Sample from the filtered distribution by inverting its cumulative sum in order of id."""
    scaled = logits.astype(np.float64)
    scaled -= scaled.max()
    with np.errstate(over="ignore"):  # to -inf: the tiniest temperatures are greedy
        scaled /= params.temperature
    ids: NDArray[np.intp] | None = None  # None: all
    if 0 < params.top_k < scaled.size:
        ids = _largest(scaled, params.top_k)
    weights = np.exp(scaled if ids is None else scaled[ids])
    if params.top_p < 1:
        kept = _nucleus(weights, params.top_p)
        ids, weights = (kept if ids is None else ids[kept]), weights[kept]
    if params.min_p > 0:
        kept = np.flatnonzero(weights >= params.min_p)  # the likeliest weighs exp(0) = 1
        ids, weights = (kept if ids is None else ids[kept]), weights[kept]
    if params.typical_p < 1:
        kept = _typical(weights, params.typical_p)
        ids, weights = (kept if ids is None else ids[kept]), weights[kept]
    cumulative = weights.cumsum()
    total = cumulative[-1]
    # Rounding must not carry the target to the total, past the last token with any weight.
    target = min(number * total, np.nextafter(total, 0.0))
    index = cumulative.searchsorted(target, side="right")
    return int(index if ids is None else ids[index])


def _uniform(seed: int, position: int) -> float:
    """Return the random number in [0, 1) of (seed, position).

    A counter-based generator needs no state; the pair is its key
    (Philox 4x64-10; Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC11).
    """
    bits = np.random.Philox(key=np.array((seed, position), dtype=np.uint64)).random_raw()
    return float(int(bits) >> 11) * 2.0**-53


def _largest(values: NDArray[np.floating], count: int) -> NDArray[np.intp]:
    """Return the indices of the ``count`` largest values, ascending; of equals the first."""
    border = np.partition(values, -count)[-count]
    above = values > border
    tied = np.flatnonzero(values == border)
    above[tied[: count - np.count_nonzero(above)]] = True
    return np.flatnonzero(above)


def _ranked(values: NDArray[np.floating], count: int) -> NDArray[np.intp]:
    """Return the indices of the ``count`` largest, largest first; of equals the first."""
    indices = _largest(values, count) if count < values.size else np.arange(values.size)
    return indices[np.argsort(-values[indices], kind="stable")]


def _nucleus(weights: NDArray[np.float64], top_p: float) -> NDArray[np.intp]:
    """Return the ascending indices of the fewest largest weights that hold ``top_p`` of the sum."""
    goal = top_p * weights.sum()
    ranked = min(_FIRST_NUCLEUS, weights.size)
    held = _largest_sums(weights, ranked)
    while held[-1] < goal and ranked < weights.size:
        ranked = min(8 * ranked, weights.size)
        held = _largest_sums(weights, ranked)
    count = int(held.searchsorted(goal)) + 1
    return _largest(weights, count) if count < weights.size else np.arange(weights.size)


def _typical(weights: NDArray[np.float64], typical_p: float) -> NDArray[np.intp]:
    """Return the ascending indices of the fewest nearest to the entropy that hold ``typical_p``."""
    chances = weights / weights.sum()
    surprises = np.full(weights.size, np.inf)
    np.log(chances, out=surprises, where=chances > 0)
    np.negative(surprises, out=surprises, where=chances > 0)
    entropy = chances @ np.where(chances > 0, surprises, 0.0)
    order = np.argsort(np.abs(surprises - entropy), kind="stable")
    count = int(chances[order].cumsum().searchsorted(typical_p)) + 1
    return np.sort(order[:count])


def _largest_sums(weights: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Return the sums of the 1, 2, … ``count`` largest."""
    largest = np.partition(weights, -count)[-count:]
    largest.sort()
    return largest[::-1].cumsum()


def _logprob(logits: NDArray[np.float32], token_id: int, count: int) -> TokenLogprob:
    """Return the log-softmax at the chosen token and at the ``count`` likeliest."""
    highest = float(logits.max())
    scale = highest + math.log(np.exp(np.subtract(logits, highest, dtype=np.float64)).sum())
    indices = _ranked(logits, count) if count else ()
    top = tuple((int(index), float(logits[index]) - scale) for index in indices)
    return TokenLogprob(token_id, float(logits[token_id]) - scale, top)
