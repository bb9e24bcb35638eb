"""Cost model of a step: seconds as a function of what the step computes, learnt while serving.

The model is linear with weights that are never negative: a fixed part, tokens (piecewise, because
the first few of a step only wait for the weights to be read), sequences, and the keys that
attention reads. Two things are learnt apart:

* the weights, by least squares over relative errors with exponential forgetting (L. Ljung,
  "System Identification", 1999, chapter 11), where a step makes only those of its own kind
  forgotten. A kind that does not run for hours stays known: forgetting by time alone would leave
  the equations without what tells the weights apart;
* the speed of the machine, one factor on all of them, which follows a change within some 15
  steps. So a CPU that another process takes makes steps of every kind dearer at once, also those
  that did not run since.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
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
_TOKENS = (1, *_KNOTS[1:])
"""Most tokens of each kind of step but the last, which is open."""
_KINDS = 4 * (len(_TOKENS) + 1)
_FORGETTING = 0.999
"""By how much an observation lowers the weight of each earlier one of its kind."""
_MOST_WEIGHT = 1 / (1 - _FORGETTING)
_SOLVE_EVERY = 16
"""Observations between two solutions, once the first ``_WARM`` were taken one by one."""
_WARM = 64
_PRIOR = 32.0
"""Most weight of each kind that was learnt before the start, in observations."""
_GUESS = 1e-3
"""Weight of a guess, in observations."""
_SPEED_WEIGHT = 0.2
_MOST_SURPRISE = 1.25
"""An observation counts as at most this many times the prediction, and at least its inverse: one
stall of seconds changes little, and a lasting change is still followed in some 15 steps."""
_NEW = 2.5
"""Weight of a kind below which its observations are taken as they are: there is no surprise yet."""
_RECENT = 512
"""Steps over which the error and the tail are taken."""
_MOST_TAIL = 3.0
_RIDGE = 1e-9
"""Keeps the equations solvable where two features always came together."""
_MOST_WRONG = 100.0
"""A kept state whose weights are this many times off what it was learnt from is not believed."""
_SLACK = 1e-6
"""Of a check of numbers that were rounded."""
_FLAT = 1e-12
_TINY = 1e-300
_LEAST_S = 1e-6
_LONGEST_S = 3600.0
_MOST_SPEED = 1e4


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


class KindState(BaseModel):
    """What was observed of the steps of one kind."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    kind: int = Field(ge=0, lt=_KINDS)
    weight: float = Field(gt=0, le=2 * _MOST_WEIGHT)
    """Observations, each counted as what is not forgotten of it."""
    gram: list[list[float]] = Field(min_length=_FEATURES, max_length=_FEATURES)
    """Sum of the outer products of the rows: features, divided by about the step's seconds."""
    moment: list[float] = Field(min_length=_FEATURES, max_length=_FEATURES)
    """Sum of the rows, each times its target: its step's seconds over what it was divided by."""


class CostState(BaseModel):
    """What a model has learnt, as it is kept in a file."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    knots: tuple[int, ...] = _KNOTS
    slope: float = Field(gt=0, le=_LONGEST_S * _MOST_SPEED)
    """Least seconds for each token of a step."""
    kinds: list[KindState] = Field(min_length=1, max_length=_KINDS)


class _Kind:
    """Sums over the steps of one kind."""

    def __init__(self) -> None:
        self.weight = 0.0
        self.gram = np.zeros((_FEATURES, _FEATURES))
        self.moment = np.zeros(_FEATURES)

    def add(self, row: NDArray[np.float64], target: float) -> None:
        """Take an observation, and forget a little of the earlier ones."""
        self.weight = _FORGETTING * self.weight + 1
        self.gram = _FORGETTING * self.gram + np.outer(row, row)
        self.moment = _FORGETTING * self.moment + target * row

    def scaled(self, weight: float, seconds: float) -> _Kind:
        """Return it with another weight, its steps taking ``seconds`` times as long."""
        other, share = _Kind(), weight / self.weight
        other.weight = weight
        other.gram = self.gram * (share / seconds**2)
        other.moment = self.moment * (share / seconds)
        return other


class CostModel:
    """Predicts the seconds of a step. Used by one thread; ``seconds`` may be called from others.

    Args:
        state: What an earlier model learnt; None begins with nothing.

    Raises:
        ValueError: a state that cannot have been learnt.
    """

    def __init__(self, state: CostState | None = None) -> None:
        self._weights = [0.0] * _FEATURES
        self._kinds: dict[int, _Kind] = {}
        self._restored = state is not None
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
        """Take a step's work, at least one token, and the seconds it took.

        A step that took no time is left out: the clock stood, and nothing is learnt from it.
        """
        if seconds < _LEAST_S:
            return
        seconds = _bounded(seconds)
        kind = self._kinds.setdefault(_kind(work), _Kind())
        new = kind.weight < _NEW or not (self.observations >= _WARM or self._restored)
        predicted, unit = self.seconds(work), seconds
        if predicted > 0:
            self._ratios.append(seconds / predicted)
            self.predicted_s += predicted
            self.measured_s += seconds
        if predicted > 0 and not new:
            # Rows are divided by the prediction, so that the weights and the speed follow the
            # same mean: with two means, one would drift after the other without end.
            surprise = min(max(seconds / predicted, 1 / _MOST_SURPRISE), _MOST_SURPRISE)
            seconds, unit = predicted * surprise, predicted
        self._slope = min(self._slope, seconds / self._speed / max(work.tokens, 1))
        target = seconds / unit
        kind.add(np.array(_features(work)) * (self._speed / unit), target)
        speed = self._speed * (1 + _SPEED_WEIGHT * (target - 1))
        self._speed = min(max(speed, 1 / _MOST_SPEED), _MOST_SPEED)
        self.observations += 1
        if new or self.observations % _SOLVE_EVERY == 0:
            self._solve()

    def seconds(self, work: StepWork) -> float:
        """Return the prediction for a step, 1e-6 to 3600; 0 before anything was learnt."""
        total: float = sum(map(mul, self._weights, _features(work)))
        return _bounded(self._speed * total) if self.known else 0.0

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
        kinds = []
        for number, kind in self._kinds.items():
            now = kind.scaled(kind.weight, self._speed)
            kinds.append(
                KindState(
                    kind=number,
                    weight=now.weight,
                    gram=now.gram.tolist(),
                    moment=now.moment.tolist(),
                )
            )
        return CostState(slope=self._slope * self._speed, kinds=kinds)

    def _restore(self, state: CostState) -> None:
        if state.knots != _KNOTS or len({one.kind for one in state.kinds}) < len(state.kinds):
            raise ValueError("not the state of a cost model")
        kinds = {one.kind: _checked(one) for one in state.kinds}
        self._slope = state.slope
        self._kinds = {
            number: kind.scaled(min(kind.weight, _PRIOR), 1.0) for number, kind in kinds.items()
        }
        with np.errstate(all="ignore"):  # a file may hold any number; the check below refuses
            self._solve()
            for kind in kinds.values():
                # Targets are about 1, so the fitted sum of targets counts the observations.
                wrong = float(kind.moment @ np.array(self._weights)) / kind.weight
                if not 1 / _MOST_WRONG < wrong < _MOST_WRONG:
                    raise ValueError("not the state of a cost model: it contradicts itself")
        if not _LEAST_S < self.seconds(StepWork(1, 1, 1)) < _LONGEST_S:
            raise ValueError("not the state of a cost model: a token takes no time, or hours")

    def _solve(self) -> None:
        """Find the weights of the least squared relative error."""
        # Tokens beyond what was tried: never free, at most what those of any step cost.
        guess = np.zeros(_FEATURES)
        guess[1 : 1 + len(_KNOTS)] = 1 / self._slope
        gram, moment = np.diag(_GUESS * guess**2), _GUESS * guess
        for kind in self._kinds.values():
            gram, moment = gram + kind.gram, moment + kind.moment
        weights = _nonnegative(gram, moment)
        if np.isfinite(weights).all():
            self._weights = weights.tolist()  # at once: others read it meanwhile


def _checked(state: KindState) -> _Kind:
    """Return the sums of a kind.

    Raises:
        ValueError: they are not sums over steps of that kind.
    """
    kind = _Kind()
    kind.weight, kind.gram, kind.moment = state.weight, np.array(state.gram), np.array(state.moment)
    if kind.gram.shape != (_FEATURES, _FEATURES):
        raise ValueError("not the state of a cost model")
    powers, ones = np.diag(kind.gram), kind.gram[0, 0]
    with np.errstate(all="ignore"):
        most = np.sqrt(np.outer(powers, powers)) * (1 + _SLACK)
        each = ones / kind.weight * np.array([_LEAST_S, _LONGEST_S]) ** 2
        fits = (
            np.allclose(kind.gram, kind.gram.T)
            and ((kind.gram >= 0) & (kind.gram <= most)).all()
            and (kind.moment >= 0).all()
            # A feature is a count: all steps of a kind have it, at least 1, or none has.
            and ((powers == 0) | (powers >= ones * (1 - _SLACK))).all()
            and each[0] < 1 / _SLACK
            and each[1] > _SLACK
        )
    if not fits:
        raise ValueError("not the state of a cost model")
    return kind


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


def _bounded(seconds: float) -> float:
    return min(max(seconds, _LEAST_S), _LONGEST_S)


def _kind(work: StepWork) -> int:
    """Return the number of a step's kind: all its steps have the same features that are not 0."""
    reads = 2 * (work.decode_keys > 0) + (work.prefill_keys > 0)
    return 4 * bisect_left(_TOKENS, work.tokens) + reads


def _features(work: StepWork) -> list[float]:
    tokens = work.tokens
    found = [1.0]
    for low, high in _SEGMENTS:
        found.append(min(max(tokens - low, 0.0), high))
    found += (float(work.sequences), float(work.decode_keys), float(work.prefill_keys))
    return found


_SEGMENTS = [(low, high - low) for low, high in zip(_KNOTS, (*_KNOTS[1:], math.inf), strict=True)]
