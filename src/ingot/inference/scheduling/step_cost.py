"""Estimate of how long a step takes, from the steps before it."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from operator import itemgetter

_WEIGHT = 0.125
"""Weight of a new observation against all before it."""
_MOST_RISE = 2.0
"""An observation counts as at most this many times the estimate: one stall changes little."""


class StepCost:
    """Seconds of a step as a function of its tokens, never falling, piecewise linear.

    One point is kept for each power of two, the moving average of what was observed there. Below
    the first point the line goes through the origin, beyond the last one it is continued. So
    what was never tried is taken to cost as much per token as what was, and a cost that is mostly
    fixed, such as the reading of the weights, is found by trying.
    """

    def __init__(self) -> None:
        self._points: dict[int, tuple[float, float]] = {}
        """By the number of bits of the tokens: average tokens and seconds."""
        self._line: list[tuple[float, float]] = [(0.0, 0.0)]
        """The points in order, the origin first."""

    def observe(self, tokens: int, seconds: float) -> None:
        """Take a step's tokens, at least one, and its duration in seconds.

        A step that took no time is left out: the clock stood.
        """
        if seconds <= 0:
            return
        size = tokens.bit_length()
        mean_tokens, mean = self._points.get(size, (float(tokens), seconds))
        mean += _WEIGHT * (min(seconds, _MOST_RISE * mean) - mean)
        self._points[size] = mean_tokens + _WEIGHT * (tokens - mean_tokens), mean
        for other, (count, old) in self._points.items():  # the latest is right where they disagree
            bound = min(old, mean) if other < size else max(old, mean)
            self._points[other] = count, mean if other == size else bound
        self._line[1:] = (self._points[one] for one in sorted(self._points))

    def seconds(self, tokens: int) -> float:
        """Return the estimate for a step; 0 before the first observation."""
        if len(self._line) == 1:
            return 0.0
        upper = bisect_left(self._line, tokens, 1, len(self._line) - 1, key=itemgetter(0))
        (left, low), (right, high) = self._line[upper - 1 : upper + 1]
        return low + (high - low) * (tokens - left) / (right - left)

    def tokens_within(self, seconds: float, beside: int, most: int) -> int:
        """Return how many tokens, at most ``most``, a step may add for this much more time.

        Args:
            seconds: The time.
            beside: Tokens that the step has without them.
            most: The limit.
        """
        limit = self.seconds(beside) + seconds
        return bisect_right(range(beside + 1, beside + most + 1), limit, key=self.seconds)
