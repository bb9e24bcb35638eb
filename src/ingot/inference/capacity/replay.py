"""Replay of traffic through the real scheduler on a simulated clock.

Scheduler, cache, prefix index, fair queue and objectives are those that serve; only the executor is
replaced, by the cost model of a step, and the words by their number.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence as Seq
from dataclasses import dataclass, field

from ingot.errors import UsageError
from ingot.inference.capacity.traffic import TracedRequest, Traffic
from ingot.inference.config import EngineConfig
from ingot.inference.executors.base import ModelInput
from ingot.inference.request.objective import Objective
from ingot.inference.request.params import RequestOptions, SamplingParams
from ingot.inference.request.sequence import Sequence
from ingot.inference.scheduling.cost_model import CostModel, StepWork
from ingot.inference.scheduling.forecast import Load, NotInTime
from ingot.inference.scheduling.kv_cache import KVCache
from ingot.inference.scheduling.objectives import Objectives
from ingot.inference.scheduling.scheduler import ScheduledChunk, Scheduler
from ingot.inference.scheduling.waiting_room import QueueFull, WaitingRoom


@dataclass(frozen=True)
class StepCosts:
    """What steps take on this machine with one format of weights."""

    model: CostModel
    spread: tuple[float, ...] = (1.0,)
    """Measured over predicted seconds of steps; the replay draws from them."""
    stalled: float = 0.0
    """Share of the measured steps that were left out because something else held them up."""


@dataclass
class Outcome:
    """What became of replayed traffic."""

    requests: int = 0
    in_time: int = 0
    """Of these, requests that kept the objective."""
    refused: int = 0
    seconds: float = 0.0
    """From the first arrival to the last end."""
    busy_s: float = 0.0
    """Of these, seconds in steps."""
    prompt_s: float = 0.0
    """Of these, the share of prompts: the tokens of a step share its time equally."""
    prompt_tokens: int = 0
    answer_tokens: int = 0
    """Written."""
    cached_tokens: int = 0
    """Tokens of prompts found in the prefix cache."""
    preemptions: int = 0
    first_s: list[float] = field(default_factory=list)
    """Seconds to the first token, of requests that were answered."""
    gaps_s: list[float] = field(default_factory=list)
    """Seconds between two tokens."""

    @property
    def attainment(self) -> float:
        """Share of the requests that kept the objective; those refused did not."""
        return self.in_time / self.requests if self.requests else 1.0

    @property
    def hit_rate(self) -> float:
        """Share of the tokens of prompts that were cached."""
        return self.cached_tokens / self.prompt_tokens if self.prompt_tokens else 0.0


def percentile(figures: Seq[float], percent: float) -> float:
    """Return the least figure that ``percent`` of them do not exceed; 0 without figures."""
    if not figures:
        return 0.0
    ordered = sorted(figures)
    return ordered[max(math.ceil(percent / 100 * len(ordered)) - 1, 0)]


def replay(
    traffic: Traffic,
    config: EngineConfig,
    costs: StepCosts,
    objective: Objective,
    *,
    max_context: int,
    factor: float = 1.0,
    most_late: float = math.inf,
    seed: int = 0,
) -> Outcome:
    """Run traffic to its end, or until too many requests are late.

    Args:
        traffic: The requests.
        config: The engine's limits, with ``num_blocks``.
        costs: What a step takes.
        objective: What each request is held to; the scheduler follows it as it serves.
        max_context: Most tokens of prompt and answer.
        factor: How many times as fast the requests arrive.
        most_late: Stop once more requests than this were late or refused.
        seed: Of the spread of the steps' times.

    Raises:
        UsageError: a request does not fit in the context or the cache.
    """
    return _Replay(config, costs, objective, max_context, seed).run(traffic, factor, most_late)


class _LearntCosts(CostModel):
    """Costs that are known: of the steps of a replay only their spread is to be learnt."""

    def __init__(self, learnt: CostModel) -> None:
        super().__init__(learnt.state())

    def observe(self, work: StepWork, seconds: float) -> None:
        """Take what a step took."""
        self._ratios.append(seconds / self.seconds(work))
        self.observations += 1


class _Replay:
    """State of one replay."""

    def __init__(
        self,
        config: EngineConfig,
        costs: StepCosts,
        objective: Objective,
        max_context: int,
        seed: int,
    ) -> None:
        if config.num_blocks is None:
            raise UsageError("is not set", where="num_blocks", fix="work it out first")
        self._cache = KVCache(config.num_blocks, config.block_size, reuse=config.prefix_cache)
        self._scheduler = Scheduler(
            self._cache,
            max_step_tokens=config.max_step_tokens,
            max_sequences=config.max_sequences,
            max_context=max_context,
            tenant_share=config.tenant_share,
        )
        self._now = 0.0
        self._objectives = Objectives(
            _LearntCosts(costs.model),
            max_step_tokens=config.max_step_tokens,
            max_sequences=config.max_sequences,
            clock=lambda: self._now,
        )
        self._scheduler.pace(self._objectives.pacing)
        self._room = WaitingRoom(config.max_waiting, config.max_waiting_tokens)
        self._costs, self._objective, self._max_context = costs, objective, max_context
        self._chance = random.Random(seed)
        self._last: dict[Sequence, float] = {}
        """When a sequence's last token came."""
        self._outcome = Outcome()

    def run(self, traffic: Traffic, factor: float, most_late: float) -> Outcome:
        outcome, scheduler = self._outcome, self._scheduler
        requests, at = traffic.requests, 0
        late = 0
        while at < len(requests) or scheduler.running or scheduler.waiting:
            idle = not (scheduler.running or scheduler.waiting)
            if idle and at < len(requests):
                self._now = max(self._now, requests[at].at_s / factor)
            while at < len(requests) and requests[at].at_s / factor <= self._now:
                late += not self._submit(requests[at], at, requests[at].at_s / factor)
                at += 1
            if scheduler.running or scheduler.waiting:
                late += self._step()
            if late > most_late:
                break
        outcome.seconds = self._now
        outcome.preemptions = scheduler.preemptions
        return outcome

    def _submit(self, request: TracedRequest, number: int, arrived: float) -> bool:
        """Queue a request unless it is refused; return whether it was queued."""
        prompt = request.token_ids
        if len(prompt) + request.answer > self._max_context:
            raise UsageError(
                f"{len(prompt)} tokens of prompt and {request.answer} of answer do not fit in a "
                f"context of {self._max_context}",
                where="traffic",
                fix="leave such requests out",
            )
        options = RequestOptions(
            tenant=request.tenant, objective=self._objective, elapsed_s=self._now - arrived
        )
        sequence = Sequence(
            number, prompt, _params(request.answer), number, _ignore, options, arrived=self._now
        )
        self._scheduler.check_fits(sequence)
        self._objectives.prepare(sequence, self._max_context)
        outcome, queue = self._outcome, self._scheduler.waiting
        outcome.requests += 1
        try:
            self._room.check(queue, sequence, ())
            load = Load(list(self._scheduler.running), queue.due, queue.due_tokens)
            if sequence.timeliness is not None:
                self._objectives.forecast.accept(sequence, load)
        except (NotInTime, QueueFull):
            outcome.refused += 1
            return False
        self._scheduler.add(sequence)
        return True

    def _step(self) -> int:
        """Run one step; return how many requests ended late."""
        chunks = self._scheduler.schedule()
        if not chunks:
            raise UsageError("nothing can run", where="traffic", fix="raise the cache's size")
        inputs = [
            ModelInput(range(chunk.count), chunk.sequence.computed, (), None) for chunk in chunks
        ]
        work = StepWork.of((chunk.count, chunk.sequence.computed) for chunk in chunks)
        began = self._now
        took = self._costs.model.seconds(work) * self._chance.choice(self._costs.spread)
        self._now += took
        self._outcome.busy_s += took
        late = sum([self._take(chunk, took / work.tokens) for chunk in chunks])
        more = bool(self._scheduler.running)
        self._objectives.observe_step(inputs, began, self._now, more=more)
        self._scheduler.charge(chunks, took)
        return late

    def _take(self, chunk: ScheduledChunk, each_s: float) -> bool:
        """Advance a sequence by what a step computed; return whether it ended late."""
        sequence, outcome = chunk.sequence, self._outcome
        if sequence.computed < len(sequence.prompt_ids):
            outcome.prompt_s += each_s * chunk.count
        samples = sequence.computed + chunk.count == sequence.length
        if samples:
            sequence.append(sequence.id & 1023)
            self._objectives.token(sequence, self._now)
            if (last := self._last.get(sequence)) is None:
                outcome.prompt_tokens += len(sequence.prompt_ids)
                outcome.cached_tokens += sequence.cached_tokens or 0
                outcome.first_s.append(self._now - sequence.arrived + sequence.options.elapsed_s)
            else:
                outcome.gaps_s.append(self._now - last)
            self._last[sequence] = self._now
        self._scheduler.advance(sequence, chunk.count)
        if not samples or len(sequence.output_ids) < sequence.params.max_tokens:
            return False
        self._scheduler.finish(sequence)
        self._objectives.end(sequence, "length")
        del self._last[sequence]
        outcome.answer_tokens += len(sequence.output_ids)
        in_time = sequence.timeliness is not None and sequence.timeliness.in_time
        outcome.in_time += in_time
        return not in_time


_PARAMS: dict[int, SamplingParams] = {}


def _params(answer: int) -> SamplingParams:
    """Return how an answer of this length is asked for; made once, for pydantic takes its time."""
    if answer not in _PARAMS:
        _PARAMS[answer] = SamplingParams(max_tokens=answer, ignore_eos=True, temperature=0.0)
    return _PARAMS[answer]


def _ignore(_: object) -> None:
    """Take no output."""
