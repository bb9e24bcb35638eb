"""Cost model of a step: seconds as a function of what the step computes, learnt while serving.

The model is linear with weights that are never negative: a fixed part, tokens (piecewise, because
the first few of a step only wait for the weights to be read), sequences, and the keys that
attention reads. Two things are learnt apart:

* the weights, by least squares over relative errors with exponential forgetting (L. Ljung,
  "System Identification", 1999, chapter 11);
* the speed of the machine, one factor on all of them, which follows a change within some ten
  steps. So a CPU that another process takes makes steps of every kind dearer at once, also those
  that did not run since.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import deque
from collections.abc import Iterable
from operator import mul
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

_KNOTS = (0, 4, 16, 64, 256)
"""Tokens at which the price of a further one may change."""
_FEATURES = 1 + len(_KNOTS) + 3
_FORGETTING = 0.999
_SOLVE_EVERY = 16
"""Observations between two solutions, once the first ``_WARM`` were taken one by one."""
_WARM = 64
_PRIOR = 32.0
"""Weight of what was learnt before the start, in observations."""
_GUESS = 1e-3
"""Weight of a guess, in observations."""
_SPEED_WEIGHT = 0.1
_MOST_SURPRISE = 2.0
"""An observation counts as at most this many times the prediction, and at least its inverse: one
stall of seconds changes little, and a lasting change is still followed in ten steps."""
_RECENT = 512
"""Steps over which the error and the tail are taken."""
_MOST_TAIL = 3.0
_RIDGE = 1e-9
"""Keeps the equations solvable where two features always came together."""
_FLAT = 1e-12
_TINY = 1e-300
_LEAST_S = 1e-6
_LONGEST_S = 3600.0


class StepWork(NamedTuple):
    """What a step computes."""

    tokens: int
    """Tokens that run, prompts and answers together."""
    sequences: int
    """Sequences that take part."""
    decode_keys: int = 0
    """Keys that the sequences with one token attend to, their own included."""
    prefill_keys: int = 0
    """The same for the tokens of longer chunks: pairs of a token and a key."""

    @classmethod
    def of(cls, chunks: Iterable[tuple[int, int]]) -> Self:
        """Return the work of chunks, each given as its tokens and those before it."""
        tokens = sequences = decode_keys = prefill_keys = 0
        for count, start in chunks:
            tokens += count
            sequences += 1
            if count == 1:
                decode_keys += start + 1
            else:
                prefill_keys += pairs(count, start)
        return cls(tokens, sequences, decode_keys, prefill_keys)

    def with_chunk(self, count: int, start: int) -> StepWork:
        """Return this work and a chunk of ``count`` tokens after ``start`` others."""
        return StepWork(
            self.tokens + count,
            self.sequences + 1,
            self.decode_keys + (start + 1 if count == 1 else 0),
            self.prefill_keys + (0 if count == 1 else pairs(count, start)),
        )


def pairs(count: int, start: int) -> int:
    """Return how many keys ``count`` tokens after ``start`` others attend to, all together."""
    return count * start + count * (count + 1) // 2


class CostState(BaseModel):
    """What a model has learnt, as it is kept in a file."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    knots: tuple[int, ...] = _KNOTS
    gram: list[list[float]] = Field(min_length=_FEATURES, max_length=_FEATURES)
    """Sum of the outer products of the observations, each divided by its seconds."""
    moment: list[float] = Field(min_length=_FEATURES, max_length=_FEATURES)
    """Sum of the observations, each divided by its seconds."""


class CostModel:
    """Predicts the seconds of a step. Used by one thread; ``seconds`` may be called from others.

    Args:
        state: What an earlier model learnt; None begins with nothing.

    Raises:
        ValueError: a state that cannot have been learnt.
    """

    def __init__(self, state: CostState | None = None) -> None:
        self._weights = [0.0] * _FEATURES
        self._gram = np.zeros((_FEATURES, _FEATURES))
        self._moment = np.zeros(_FEATURES)
        self._prior_gram = np.zeros((_FEATURES, _FEATURES))
        self._prior_moment = np.zeros(_FEATURES)
        self._speed = 1.0
        self._slope = math.inf
        """Least seconds for each token of a step so far."""
        self._ratios: deque[float] = deque(maxlen=_RECENT)
        """Measured over predicted, of recent steps."""
        self._tails: dict[float, tuple[int, float]] = {}
        self.observations = 0
        """Steps observed by this object."""
        self.predicted_s = 0.0
        """Sum of the predictions of the steps observed, each made before it was."""
        self.measured_s = 0.0
        """Sum of what they took."""
        if state is not None:
            self._restore(state)

    @property
    def known(self) -> bool:
        """Whether anything was learnt, by this object or before."""
        return any(self._weights)

    @property
    def error(self) -> float:
        """Mean of |predicted - measured| / measured over recent steps; 0 before the first."""
        ratios = list(self._ratios)  # in one go: others ask while the engine adds
        if not ratios:
            return 0.0
        return sum(min(abs(1 / ratio - 1), 10.0) for ratio in ratios) / len(ratios)

    def observe(self, work: StepWork, seconds: float) -> None:
        """Take a step's work, at least one token, and the seconds it took."""
        seconds = max(seconds, _LEAST_S)
        predicted = self.seconds(work)
        if predicted > 0:
            self._ratios.append(seconds / predicted)
            self.predicted_s += predicted
            self.measured_s += seconds
            surprise = min(max(seconds / predicted, 1 / _MOST_SURPRISE), _MOST_SURPRISE)
            if self.observations >= _WARM or self._prior_moment.any():
                seconds = predicted * surprise
                self._speed *= 1 + _SPEED_WEIGHT * (surprise - 1)
        self._slope = min(self._slope, seconds / self._speed / max(work.tokens, 1))
        row = np.array(_features(work)) * (self._speed / seconds)
        self._gram = _FORGETTING * self._gram + np.outer(row, row)
        self._moment = _FORGETTING * self._moment + row
        self.observations += 1
        if self.observations <= _WARM or self.observations % _SOLVE_EVERY == 0:
            self._solve()

    def seconds(self, work: StepWork) -> float:
        """Return the prediction for a step; 0 before anything was learnt."""
        total: float = sum(map(mul, self._weights, _features(work)))
        return self._speed * total

    def tail(self, percent: float) -> float:
        """Return by what factor that percentage of recent steps took at most longer, from 1 to 3.

        Args:
            percent: Such as 99; between 0 and 100.
        """
        if len(self._ratios) < _WARM // 4:
            return 1.25  # nothing is known about the spread yet
        counted, value = self._tails.get(percent, (-1, 1.0))
        if counted < 0 or self.observations - counted >= _SOLVE_EVERY:
            ordered = sorted(self._ratios)
            index = math.ceil(percent / 100 * len(ordered)) - 1
            value = min(max(ordered[max(index, 0)], 1.0), _MOST_TAIL)
            self._tails = {
                **dict(list(self._tails.items())[-7:]),
                percent: (self.observations, value),
            }
        return value

    def tokens_within(self, seconds: float, beside: StepWork, start: int, most: int) -> int:
        """Return the longest chunk with which a step stays within a time, at most ``most`` tokens.

        Args:
            seconds: The time of the whole step.
            beside: What the step computes besides.
            start: Tokens of the chunk's sequence before it.
            most: The limit.
        """

        def cost(count: int) -> float:
            return self.seconds(beside.with_chunk(count, start))

        return bisect_right(range(1, most + 1), seconds, key=cost)

    def state(self) -> CostState:
        """Return what was learnt, at the machine's present speed."""
        gram = (self._prior_gram + self._gram) / self._speed**2
        moment = (self._prior_moment + self._moment) / self._speed
        return CostState(gram=gram.tolist(), moment=moment.tolist())

    def _restore(self, state: CostState) -> None:
        gram, moment = np.array(state.gram), np.array(state.moment)
        fits = (
            state.knots == _KNOTS
            and gram.shape == (_FEATURES, _FEATURES)
            and np.allclose(gram, gram.T)
            and (gram >= 0).all()
            and (moment >= 0).all()
            and gram[0, 0] > 0
        )
        if not fits:
            raise ValueError("not the state of a cost model")
        self._prior_gram, self._prior_moment = gram, moment
        with np.errstate(all="ignore"):  # a file may hold any number; the check below refuses
            self._solve()
            # The target of each row is 1, so the fitted sum of targets counts the observations.
            rows = float(moment @ np.array(self._weights))
        if not (_LEAST_S < self.seconds(StepWork(1, 1, 1)) < _LONGEST_S and 0 < rows < math.inf):
            raise ValueError("not the state of a cost model: a token takes no time, or hours")
        self._prior_gram = gram * (_PRIOR / rows)
        self._prior_moment = moment * (_PRIOR / rows)

    def _solve(self) -> None:
        """Find the weights of the least squared relative error."""
        gram, moment = self._prior_gram + self._gram, self._prior_moment + self._moment
        if not self._prior_moment.any():
            # Tokens beyond what was tried: never free, at most what those of any step cost.
            guess = np.zeros(_FEATURES)
            guess[1 : 1 + len(_KNOTS)] = 1 / self._slope
            gram, moment = gram + np.diag(_GUESS * guess**2), moment + _GUESS * guess
        self._weights = _nonnegative(gram, moment).tolist()  # at once: others read it meanwhile


def _nonnegative(gram: NDArray[np.float64], moment: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the ``w >= 0`` that minimises ``w @ gram @ w - 2 * moment @ w``.

    By active sets: C. Lawson and R. Hanson, "Solving Least Squares Problems", 1974, chapter 23.
    """
    scale = np.sqrt(np.maximum(np.diag(gram), _TINY))
    gram = gram / np.outer(scale, scale) + _RIDGE * np.eye(len(scale))
    moment = moment / scale
    weights = np.zeros(len(scale))
    free = np.zeros(len(scale), bool)
    for _ in range(3 * len(scale)):
        slope = np.where(free, -math.inf, moment - gram @ weights)
        best = int(np.argmax(slope))
        if slope[best] <= _FLAT:
            break
        free[best] = True
        while True:
            solution = np.zeros(len(scale))
            solution[free] = np.linalg.solve(gram[np.ix_(free, free)], moment[free])
            below = free & (solution <= 0)
            if not below.any():
                break
            step = float(np.min(weights[below] / (weights[below] - solution[below])))
            weights += step * (solution - weights)
            free &= weights > _FLAT
            weights[~free] = 0.0
        weights = solution
    return weights / scale


def _features(work: StepWork) -> list[float]:
    tokens = work.tokens
    found = [1.0]
    for low, high in _SEGMENTS:
        found.append(min(max(tokens - low, 0.0), high))
    found += (float(work.sequences), float(work.decode_keys), float(work.prefill_keys))
    return found


_SEGMENTS = [(low, high - low) for low, high in zip(_KNOTS, (*_KNOTS[1:], math.inf), strict=True)]
