"""Choosing the next token from the model's scores.

The steps, in this order: temperature, top-k, top-p (arXiv:1904.09751), min-p
(arXiv:2407.01082), each on what the one before it left; then one draw from what
remains. The random number is a function of (seed, position) alone, so what a
sequence draws depends neither on its batch nor on how it was scheduled.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ingot.errors import ServeError, UsageError
from ingot.inference.executors.base import Drawn, SamplingRow
from ingot.inference.sequence import SamplingParams, TokenLogprob

MAX_TEMPERATURE = 10.0
MAX_STOPS = 16
MAX_STOP_CHARACTERS = 1_000
MAX_LOGPROBS = 20
_MAX_COUNT = (1 << 31) - 1
_MAX_SEED = (1 << 64) - 1
_FIRST_NUCLEUS = 64  # candidates ranked first; top-p seldom needs more


def validate(params: SamplingParams) -> None:
    """Check every field.

    Raises:
        UsageError: a field of the wrong type or out of its range; ``where`` is its name.
    """
    _whole("max_tokens", params.max_tokens, 1, _MAX_COUNT)
    _real("temperature", params.temperature, 0.0, MAX_TEMPERATURE)
    _real("top_p", params.top_p, 0.0, 1.0)
    if params.top_p == 0:
        raise UsageError("0 keeps no token", where="top_p", fix="give a number above 0, up to 1")
    _whole("top_k", params.top_k, 0, _MAX_COUNT)
    _real("min_p", params.min_p, 0.0, 1.0)
    if params.seed is not None:
        _whole("seed", params.seed, 0, _MAX_SEED)
    if params.logprobs is not None:
        _whole("logprobs", params.logprobs, 0, MAX_LOGPROBS)
    if not isinstance(params.ignore_eos, bool):
        raise UsageError(_shown(params.ignore_eos), where="ignore_eos", fix="give true or false")
    _stop(params.stop)


def draw(logits: NDArray[np.float32], row: SamplingRow) -> Drawn:
    """Choose the token at ``row.position``.

    Args:
        logits: float32 scores (vocab,).
        row: How to choose. Where scores tie, the lower id counts as likelier.

    Raises:
        ServeError: a score is not finite.
    """
    if not np.isfinite(logits).all():
        bad = int(np.count_nonzero(~np.isfinite(logits)))
        raise ServeError(
            f"{bad} of {logits.size} scores are not finite at position {row.position}",
            where="model",
            fix="verify the ingot; its weights may have been damaged or diverged in training",
        )
    params = row.params
    greedy = params.temperature == 0
    token_id = int(logits.argmax()) if greedy else _sample(logits, row)
    if params.logprobs is None:
        return Drawn(token_id, None)
    return Drawn(token_id, _logprob(logits, token_id, params.logprobs))


def _sample(logits: NDArray[np.float32], row: SamplingRow) -> int:
    """Draw from the filtered distribution, by inverting its cumulative sum in order of id."""
    params = row.params
    scaled = logits.astype(np.float64)
    scaled -= scaled.max()
    with np.errstate(over="ignore"):  # to -inf: the tiniest temperatures are greedy
        scaled /= params.temperature
    ids: NDArray[np.intp] | None = None  # None stands for all
    if 0 < params.top_k < scaled.size:
        ids = _largest(scaled, params.top_k)
    weights = np.exp(scaled if ids is None else scaled[ids])
    if params.top_p < 1:
        kept = _nucleus(weights, params.top_p)
        ids, weights = (kept if ids is None else ids[kept]), weights[kept]
    if params.min_p > 0:
        kept = np.flatnonzero(weights >= params.min_p)  # the likeliest weighs exp(0) = 1
        ids, weights = (kept if ids is None else ids[kept]), weights[kept]
    cumulative = weights.cumsum()
    total = cumulative[-1]
    # Rounding must not carry the target to the total, past the last token with any weight.
    target = min(_uniform(row.seed, row.position) * total, np.nextafter(total, 0.0))
    place = cumulative.searchsorted(target, side="right")
    return int(place if ids is None else ids[place])


def _uniform(seed: int, position: int) -> float:
    """Return the random number in [0, 1) that belongs to (seed, position).

    A counter-based generator needs no state: the pair is its key
    (Philox 4x64-10; Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC11).
    """
    bits = np.random.Philox(key=np.array((seed, position), dtype=np.uint64)).random_raw()
    return float(int(bits) >> 11) * 2.0**-53


def _largest(values: NDArray[np.floating], count: int) -> NDArray[np.intp]:
    """Return the places of the ``count`` largest values, ascending; the first of equals win."""
    border = np.partition(values, -count)[-count]
    above = values > border
    tied = np.flatnonzero(values == border)
    above[tied[: count - np.count_nonzero(above)]] = True
    return np.flatnonzero(above)


def _ranked(values: NDArray[np.floating], count: int) -> NDArray[np.intp]:
    """Return the places of the ``count`` largest values, largest first; the first of equals win."""
    places = _largest(values, count) if count < values.size else np.arange(values.size)
    return places[np.argsort(-values[places], kind="stable")]


def _nucleus(weights: NDArray[np.float64], top_p: float) -> NDArray[np.intp]:
    """Return the places, ascending, of the fewest of the largest that hold ``top_p`` of all."""
    goal = top_p * weights.sum()
    ranked = min(_FIRST_NUCLEUS, weights.size)
    held = _largest_sums(weights, ranked)
    while held[-1] < goal and ranked < weights.size:
        ranked = min(8 * ranked, weights.size)
        held = _largest_sums(weights, ranked)
    count = int(held.searchsorted(goal)) + 1
    return _largest(weights, count) if count < weights.size else np.arange(weights.size)


def _largest_sums(weights: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Return the sums of the 1, 2, … ``count`` largest."""
    largest = np.partition(weights, -count)[-count:]
    largest.sort()
    return largest[::-1].cumsum()


def _logprob(logits: NDArray[np.float32], token_id: int, count: int) -> TokenLogprob:
    """Return the log-softmax of the scores at the chosen token and at the likeliest."""
    highest = float(logits.max())
    scale = highest + math.log(np.exp(np.subtract(logits, highest, dtype=np.float64)).sum())
    places = _ranked(logits, count) if count else ()
    top = tuple((int(place), float(logits[place]) - scale) for place in places)
    return TokenLogprob(token_id, float(logits[token_id]) - scale, top)


def _shown(value: object) -> str:
    """Name a bad value without letting it flood the message."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > _MAX_SEED:
        return "a whole number too large to be meant"
    text = repr(value)
    return f"{text if len(text) <= 40 else text[:40] + '…'} is not allowed"


def _whole(name: str, value: object, low: int, high: int) -> None:
    """Refuse anything but a whole number in [low, high]."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise UsageError(_shown(value), where=name, fix=f"give a whole number from {low} to {high}")


def _real(name: str, value: object, low: float, high: float) -> None:
    """Refuse anything but a number in [low, high]; NaN is in no range."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not (is_number and low <= value <= high):  # type: ignore[operator]
        raise UsageError(_shown(value), where=name, fix=f"give a number from {low:g} to {high:g}")


def _stop(stop: object) -> None:
    """Refuse anything but a tuple of a few short texts."""
    if not isinstance(stop, tuple) or len(stop) > MAX_STOPS:
        raise UsageError(
            "is not a tuple of a few texts", where="stop", fix=f"give at most {MAX_STOPS}"
        )
    for text in stop:
        if not isinstance(text, str) or not 1 <= len(text) <= MAX_STOP_CHARACTERS:
            raise UsageError(
                _shown(text),
                where="stop",
                fix=f"give texts of 1 to {MAX_STOP_CHARACTERS} characters",
            )
