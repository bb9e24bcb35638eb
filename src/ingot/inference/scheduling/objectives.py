"""Latency objectives of an engine: what keeps them, and the record of how they were kept."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable

from ingot.inference.executors.base import ModelInput
from ingot.inference.request.objective import Objective, Timeliness
from ingot.inference.request.sequence import FinishReason, Sequence
from ingot.inference.scheduling.cost_model import CostModel, StepWork
from ingot.inference.scheduling.forecast import Forecast
from ingot.inference.scheduling.pacing import Pacing
from ingot.inference.stats import ObjectiveStats

_WINDOW_S = 60.0
"""Seconds over which attainment and goodput are taken."""
_MOST_ENDS = 100_000


class Objectives:
    """The part of an engine that objectives concern.

    Used by the engine's thread; ``prepare`` and ``stats`` by any.

    Args:
        cost: What steps cost, as far as known.
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
        self.pacing = Pacing(
            cost, max_step_tokens=max_step_tokens, max_sequences=max_sequences, clock=clock
        )
        self.forecast = Forecast(self.pacing)
        self.active = False
        """Whether any request had an objective: until then steps are not observed."""
        self._clock = clock
        self._ended_at: float | None = None
        """When the step before ended, if work was left then."""
        self._in_time = self._late = 0
        self._ends: deque[tuple[float, bool]] = deque(maxlen=_MOST_ENDS)
        """When an answer ended, and whether it was in time, over the window."""

    def prepare(self, sequence: Sequence, max_context: int) -> None:
        """Begin to hold a new sequence to the objective of its request, if it has one."""
        options = sequence.options
        if options.objective is None or sequence.pooling:
            return
        most = min(sequence.params.max_tokens, max_context - sequence.length)
        arrived = self._clock() - options.elapsed_s
        sequence.timeliness = Timeliness(options.objective, arrived, max(most - 1, 0))

    def observe_step(
        self, inputs: Iterable[ModelInput], began: float, returned: float, *, more: bool
    ) -> None:
        """Learn from a step.

        What it took is what an answer waited for it: from the end of the step before, where work
        was left then, so that it contains all that happened in between.

        Args:
            inputs: What it ran.
            began: When it began.
            returned: When its results were there.
            more: Whether work is left.
        """
        chunks = [(len(one.token_ids), one.start) for one in inputs]
        work = StepWork.of(chunks)
        since = began if self._ended_at is None else self._ended_at
        read = sum(count for count, _ in chunks if count > 1)
        self.pacing.observe(work, returned - since, read, work.tokens - read)
        self.forecast.note_step(returned)
        self._ended_at = returned if more else None

    def token(self, sequence: Sequence, now: float) -> None:
        """Record that an answer got tokens."""
        timeliness = sequence.timeliness
        if timeliness is not None:
            first = timeliness.first_at is None
            timeliness.token(now)
            if first:
                self.forecast.note_first(sequence)

    def end(self, sequence: Sequence, reason: FinishReason) -> None:
        """Record that an answer ended; one that its client left is in neither count."""
        if sequence.pooling or reason not in ("stop", "length", "deadline", "error"):
            return
        if reason in ("stop", "length"):
            self.forecast.note_end(sequence, limited=reason == "length")
        timeliness = sequence.timeliness
        if timeliness is not None:
            in_time = timeliness.in_time and reason in ("stop", "length")
            timeliness.kept = in_time
            self._in_time += in_time
            self._late += not in_time
            self._ends.append((self._clock(), in_time))

    def best(self, prompt_tokens: int) -> Objective:
        """Return the best that one request alone gets on an idle machine.

        Args:
            prompt_tokens: Length of its prompt.
        """
        cost = self.pacing.cost
        token_s = cost.seconds(StepWork(1, 1, prompt_tokens)) * cost.tail(99)
        read_s = self.pacing.read_s(prompt_tokens) * cost.tail(99)
        return Objective(min(max(read_s, 1e-3), 3600.0), min(max(token_s, 1e-4), 60.0))

    def stats(self) -> ObjectiveStats | None:
        """Return how objectives were kept; None if no request had one."""
        if not self.active:
            return None
        ends = list(self._ends)
        since = self._clock() - _WINDOW_S
        recent = [in_time for at, in_time in ends if at >= since]
        cost = self.pacing.cost
        return ObjectiveStats(
            in_time=self._in_time,
            late=self._late,
            refused=dict(self.forecast.refusals),
            attainment=sum(recent) / len(recent) if recent else math.nan,
            goodput=sum(recent) / _WINDOW_S,
            predicted_s=cost.predicted_s,
            measured_s=cost.measured_s,
            prediction_error=cost.error,
        )
