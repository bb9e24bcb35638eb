"""Scheduling by latency objectives: what a step may hold, and who comes first.

A step is filled with tokens of prompts only as far as the cost model foresees that no running
answer waits longer than its objective between two tokens (the idea of Sarathi-Serve,
arXiv:2403.02310, with the budget in seconds instead of tokens). Requests wait in the order of
their slack: the time that is left until reading their prompt must begin. A request that can no
longer be in time, or never had an objective, uses what the others leave, and never waits beyond
the bounds below.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable
from collections.abc import Sequence as Seq

from ingot.inference.request.sequence import Sequence
from ingot.inference.scheduling.cost_model import CostModel, StepWork

HOLD_STEPS = 8
"""Most consecutive steps that a running answer is left out for others."""
HOLD_S = 0.5
"""Most seconds that prompts wait for steps which running answers fill; then some are read."""
HOLD_TOKENS = 32
"""Tokens of prompts that are read then."""
PASSES = 32
"""How many may be admitted before the oldest sequence of a user."""
WINDOW = 128
"""Requests of one user, in order of arrival, among which the most urgent is looked for."""
_RESERVE = 0.05
"""Part of an objective that is left for what no step's cost contains, such as sending."""
_KEYS = 256
"""Keys that a token of an answer is taken to read."""
_REFRESH = 16
"""Steps after which a capacity is worked out again."""
_READ_WEIGHT = 0.02
_MOST_READ = 4.0
"""Most tokens of prompts for each token of answers that a capacity allows for."""


class Pacing:
    """Decides by the costs of steps. Belongs to one scheduler.

    Args:
        cost: The costs, learnt further by ``observe``.
        max_step_tokens: The token budget of a step.
        max_sequences: Most running sequences.
        clock: Seconds that never go back.
    """

    def __init__(
        self,
        cost: CostModel,
        *,
        max_step_tokens: int,
        max_sequences: int,
        clock: Callable[[], float],
    ) -> None:
        self.cost = cost
        self.clock = clock
        self._max_step_tokens = max_step_tokens
        self._max_sequences = max_sequences
        self._skipped: dict[Sequence, int] = {}
        self._held_since: float | None = None
        """Since when prompts have waited for steps that running answers fill."""
        self._capacities: dict[tuple[float, float], tuple[int, int]] = {}
        self._read = self._written = 1.0
        """Tokens of prompts read and of answers written in a step, averaged over recent ones."""
        self.now = 0.0
        """When the step that is being put together began."""

    def begin(self) -> None:
        """Begin a step."""
        self.now = self.clock()

    def observe(self, work: StepWork, seconds: float, read: int, written: int) -> None:
        """Take what a step computed and took, with its tokens of prompts and of answers."""
        self.cost.observe(work, seconds)
        self._read += _READ_WEIGHT * (read - self._read)
        self._written += _READ_WEIGHT * (written - self._written)

    def is_lost(self, sequence: Sequence) -> bool:
        """Return whether a sequence has no objective that it can still keep."""
        timeliness = sequence.timeliness
        return timeliness is None or timeliness.lost(self.now)

    def latest_start(self, sequence: Sequence) -> float:
        """Return when reading of the prompt must begin for the first token to be in time.

        Infinite where there is no objective for the first token.
        """
        timeliness = sequence.timeliness
        if timeliness is None or timeliness.first_at is not None:
            return math.inf
        return timeliness.due - self.read_s(sequence.length - sequence.computed)

    def read_s(self, tokens: int) -> float:
        """Return the least seconds in which a prompt of ``tokens`` tokens is read."""
        seconds, start = 0.0, 0
        while start < tokens and start < 16 * self._max_step_tokens:
            count = min(tokens - start, self._max_step_tokens)
            seconds += self.cost.seconds(StepWork(0, 0).with_chunk(count, start))
            start += count
        return seconds * tokens / start if start else 0.0

    def most_urgent(self, line: Iterable[Sequence]) -> Sequence:
        """Return whose turn it is among waiting sequences, given in order of arrival.

        Those that can still be in time come first, the one with the least slack before the
        others; then those that cannot, in order of arrival. The oldest is passed a bounded
        number of times.
        """
        ahead = list(itertools.islice(line, WINDOW))
        oldest = ahead[0]
        if len(ahead) == 1 or oldest.passed >= PASSES:
            return oldest
        self.now = self.clock()
        in_time = [
            (start, one)
            for one in ahead
            if (start := self.latest_start(one)) >= self.now and not self.is_lost(one)
        ]
        return min(in_time, key=_start)[1] if in_time else oldest

    def gives_way(self, first: Sequence) -> bool:
        """Return whether a waiting sequence leaves its turn to others that can still be in time."""
        return first.passed < PASSES and first.admission is None and self.is_lost(first)

    def may_pass(self, other: Sequence, first: Sequence) -> bool:
        """Return whether a waiting sequence may run before the one whose turn it is."""
        return not self.gives_way(first) or not self.is_lost(other)

    def sort(self, prompts: list[Sequence]) -> None:
        """Sort running prompts in the order in which they are read."""
        if len(prompts) > 1:
            prompts.sort(key=lambda one: (self.is_lost(one), self.latest_start(one)))

    def choose_decodes(self, ready: list[Sequence]) -> list[Sequence]:
        """Return the running answers that get a token in this step.

        All of them where that keeps the objectives. Else those that can no longer be in time
        take turns in what the others leave, each at least every ``HOLD_STEPS`` + 1 steps.
        """
        limit = self._limit_s(ready)
        if limit == math.inf or self.cost.seconds(_decodes(ready)) <= limit:
            self._skipped.clear()
            return ready
        chosen = [one for one in ready if not self.is_lost(one)]
        others = [one for one in ready if self.is_lost(one)]
        skipped = {one: self._skipped.get(one, 0) + 1 for one in others}
        work = _decodes(chosen)
        for one in sorted(others, key=lambda one: -skipped[one]):
            more = work.with_chunk(1, one.length - 1)
            if skipped[one] > HOLD_STEPS or self.cost.seconds(more) <= limit:
                work = more
                chosen.append(one)
                del skipped[one]
        self._skipped = skipped
        return chosen

    def prompt_tokens(self, decodes: Seq[Sequence], start: int, most: int) -> int:
        """Return how many tokens of prompts a step may read beside its decodes.

        Args:
            decodes: The sequences that decode in it.
            start: Tokens before the first of them in its sequence.
            most: The limit of the step's own budget.
        """
        limit = self._limit_s(decodes)
        if limit == math.inf:
            return most
        tail = self.cost.tail(self._percentile(decodes))
        fits = self.cost.tokens_within(limit / tail, _decodes(decodes), start, most)
        if fits >= min(HOLD_TOKENS, most):
            self._held_since = None
            return fits
        if self._held_since is None:
            self._held_since = self.now
        if self.now - self._held_since >= HOLD_S:
            self._held_since = None
            return min(HOLD_TOKENS, most)
        return fits

    def draft_tokens(self, decodes: Seq[Sequence], beside: StepWork, most: int) -> int:
        """Return how many tokens a step may hold besides, so that the objectives are kept."""
        limit = self._limit_s(decodes)
        if limit == math.inf:
            return most
        tail = self.cost.tail(self._percentile(decodes))
        return self.cost.tokens_within(limit / tail, beside, 0, most)

    def may_start(self, sequence: Sequence, running: Seq[Sequence]) -> bool:
        """Return whether one more sequence may run without another missing its objective."""
        held = [one for one in running if not self.is_lost(one)]
        if not held and (sequence.timeliness is None or not running):
            return True
        itl = min((_itl(one) for one in (*held, sequence)), default=math.inf)
        counted = held if not self.is_lost(sequence) else running
        return len(counted) < self.capacity(itl, self._percentile([*held, sequence]))

    def capacity(self, itl_s: float, percentile: float) -> int:
        """Return how many sequences can run with this time between their tokens, at least one.

        Each step also reads prompts, in the proportion in which they came lately.
        """
        if itl_s == math.inf:
            return self._max_sequences
        key = itl_s, percentile
        counted, capacity = self._capacities.get(key, (-1, 0))
        if counted < 0 or self.cost.observations - counted >= _REFRESH:
            limit = itl_s * (1 - _RESERVE) / self.cost.tail(percentile)
            capacity = self._most_within(limit)
            if len(self._capacities) > 64:
                self._capacities.clear()
            self._capacities[key] = self.cost.observations, capacity
        return capacity

    def pace(
        self, itl_s: float, percentile: float, sequences: int, tokens: int
    ) -> tuple[float, int]:
        """Return the seconds of a step beside so many answers, and the tokens that it reads.

        Args:
            itl_s: The shortest time between tokens that one of them may take.
            percentile: Of which percentage of the times.
            sequences: How many answers run.
            tokens: How many tokens of prompts there are to read.
        """
        beside = StepWork(sequences, sequences, _KEYS * sequences, 0)
        most = max(min(tokens, self._max_step_tokens - sequences), 1)
        read = most
        if sequences and itl_s < math.inf:
            limit = itl_s * (1 - _RESERVE) / self.cost.tail(percentile)
            read = max(self.cost.tokens_within(limit, beside, 0, most), 1)
        return self.cost.seconds(beside.with_chunk(read, 0)), read

    def _most_within(self, limit_s: float) -> int:
        low, high = 1, self._max_sequences
        while low < high:
            middle = (low + high + 1) // 2
            if self.cost.seconds(self._steady(middle)) <= limit_s:
                low = middle
            else:
                high = middle - 1
        return low

    def _steady(self, sequences: int) -> StepWork:
        """Return the work of a step of so many answers, and the prompts that replace them."""
        read = round(sequences * min(self._read / max(self._written, 1e-3), _MOST_READ))
        keys = _KEYS * sequences
        work = StepWork(sequences, sequences, keys, 0)
        return work.with_chunk(read, 0) if read > 1 else work

    def _limit_s(self, decodes: Iterable[Sequence]) -> float:
        """Return the seconds that a step may take for the sake of the answers in it."""
        limit = math.inf
        for one in decodes:
            timeliness = one.timeliness
            if timeliness is None or (itl := timeliness.objective.itl_s) is None:
                continue
            if timeliness.lost(self.now):
                continue
            left = timeliness.last_at + itl - self.now
            # A gap that is late already costs nothing more; the next one begins after it.
            limit = min(limit, (left if left > itl / 4 else itl) - _RESERVE * itl)
        return limit

    def _percentile(self, sequences: Iterable[Sequence]) -> float:
        found = (one.timeliness.objective.percentile for one in sequences if one.timeliness)
        return max(found, default=99.0)


def _decodes(sequences: Iterable[Sequence]) -> StepWork:
    return StepWork.of((1, one.length - 1) for one in sequences)


def _itl(sequence: Sequence) -> float:
    timeliness = sequence.timeliness
    return math.inf if timeliness is None else (timeliness.objective.itl_s or math.inf)


def _start(entry: tuple[float, Sequence]) -> float:
    return entry[0]
