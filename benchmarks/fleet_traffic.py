"""Requests that arrive evenly spread, in bursts, or as a day goes."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from benchmarks.fleet import Arrival

BURSTY = 0.25
"""Shape of the gamma distribution of the times between requests; 1 is a Poisson process."""
DAY_SWING = 0.6
"""By how much of its mean a day's rate rises and falls."""


@dataclass(frozen=True)
class Lengths:
    """Tokens of prompts and answers: log-normal with these medians, as in public traces."""

    prompt: int
    answer: int
    context: int
    """Most of both together."""
    sigma: float = 0.8

    def draw(self, chance: random.Random) -> tuple[int, int]:
        """Return a prompt's and an answer's tokens."""
        prompt = _drawn(chance, self.prompt, self.sigma, self.context // 2)
        answer = _drawn(chance, self.answer, self.sigma, self.context - prompt - 1)
        return prompt, answer


def poisson(lengths: Lengths, rate: float, seconds: float, seed: int = 0) -> list[Arrival]:
    """Return requests at independent times."""
    return _arrivals(lengths, seconds, seed, lambda chance, _: chance.expovariate(rate))


def bursty(lengths: Lengths, rate: float, seconds: float, seed: int = 0) -> list[Arrival]:
    """Return requests in bursts: the times between them have a gamma distribution."""
    scale = 1 / (rate * BURSTY)
    return _arrivals(lengths, seconds, seed, lambda chance, _: chance.gammavariate(BURSTY, scale))


def diurnal(lengths: Lengths, rate: float, seconds: float, seed: int = 0) -> list[Arrival]:
    """Return requests whose rate follows one day, pressed into ``seconds``; ``rate`` is its mean.

    A Poisson process of the highest rate, thinned (P. Lewis and G. Shedler, "Simulation of
    nonhomogeneous Poisson processes by thinning", 1979).
    """
    most = 1 + DAY_SWING

    def gap(chance: random.Random, now: float) -> float:
        at = now
        while True:
            at += chance.expovariate(rate * most)
            wave = 1 - DAY_SWING * math.cos(2 * math.pi * at / seconds)
            if chance.random() * most < wave:
                return at - now

    return _arrivals(lengths, seconds, seed, gap)


def _arrivals(
    lengths: Lengths, seconds: float, seed: int, gap: Callable[[random.Random, float], float]
) -> list[Arrival]:
    def each() -> Iterator[Arrival]:
        times, sizes = random.Random(f"times {seed}"), random.Random(f"sizes {seed}")
        now = gap(times, 0.0)
        while now < seconds:
            yield Arrival(now, *lengths.draw(sizes))
            now += gap(times, now)

    return list(each())


def _drawn(chance: random.Random, median: int, sigma: float, most: int) -> int:
    return max(1, min(most, round(chance.lognormvariate(math.log(median), sigma))))
