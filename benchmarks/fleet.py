"""Discrete-event simulation of a fleet: replicas of the engine behind one HTTP application.

Each replica runs the scheduler and the key-value cache that serve; a step takes what a cost model
says. Requests go through the HTTP application to the less busy of two replicas, as Ray Serve's
router sends them where it knows no prefix, and every token comes back through the application.
"""

from __future__ import annotations

import random
from collections.abc import Generator, Iterable
from collections.abc import Sequence as Seq
from dataclasses import dataclass, field
from typing import Protocol

import simpy

from ingot.inference.config import EngineConfig
from ingot.inference.request.params import RequestOptions, SamplingParams
from ingot.inference.request.sequence import Sequence
from ingot.inference.scheduling.cost_model import StepWork
from ingot.inference.scheduling.kv_cache import KVCache
from ingot.inference.scheduling.scheduler import ScheduledChunk, Scheduler
from ingot.inference.scheduling.waiting_room import QueueFull, WaitingRoom

_OPTIONS = RequestOptions()
_Events = Generator[simpy.Event, object, None]


class StepSeconds(Protocol):
    """What a step takes."""

    def seconds(self, work: StepWork) -> float:
        """Return the seconds of a step."""


@dataclass(frozen=True)
class Arrival:
    """One request: when it comes, and tokens of prompt and answer."""

    at_s: float
    prompt: int
    answer: int


@dataclass(frozen=True)
class Replica:
    """What each replica is."""

    costs: StepSeconds
    config: EngineConfig
    """Its limits, with ``num_blocks``."""
    max_context: int
    spread: tuple[float, ...] = (1.0,)
    """Measured over predicted seconds of steps, from which each step draws."""


@dataclass(frozen=True)
class FrontCosts:
    """Seconds of the HTTP application: one process, which does one thing at a time."""

    request_s: float = 0.0
    token_s: float = 0.0


@dataclass
class FleetOutcome:
    """What became of the requests."""

    requests: int = 0
    refused: int = 0
    tokens: int = 0
    """Written."""
    seconds: float = 0.0
    """From the first arrival to the last end."""
    busy_s: float = 0.0
    """Sum over the replicas of their seconds in steps."""
    front_s: float = 0.0
    """Seconds of the HTTP applications' work."""
    steps: int = 0
    step_tokens: int = 0
    """Sum over the steps."""
    step_sequences: int = 0
    """Sum over the steps."""
    preemptions: int = 0
    queued_s: list[float] = field(default_factory=list)
    """Seconds from a request's arrival at a replica to its first step."""
    first_s: list[float] = field(default_factory=list)
    """Seconds to the first token."""
    gaps_s: list[float] = field(default_factory=list)
    """Seconds between two tokens."""


def simulate(
    arrivals: Iterable[Arrival],
    replica: Replica,
    replicas: int,
    *,
    front: FrontCosts | None = None,
    fronts: int = 1,
    after_s: float = 0.0,
    seed: int = 0,
) -> FleetOutcome:
    """Run requests to their end.

    Args:
        arrivals: The requests, in their order.
        replica: What each replica is.
        replicas: How many.
        front: What the HTTP application costs; nothing by default.
        fronts: How many of it there are, each with every n-th request.
        after_s: Requests that come before are answered, but their times are left out.
        seed: Of the router's choices and the spread of the steps.

    Raises:
        UsageError: a request does not fit into the cache.
    """
    fleet = _Fleet(replica, replicas, front or FrontCosts(), fronts, after_s, seed)
    return fleet.run(arrivals)


@dataclass(eq=False)
class _Engine:
    """State of one replica."""

    cache: KVCache
    scheduler: Scheduler
    wake: simpy.Event
    idle: bool = True
    stepping: bool = False
    open: int = 0
    """Sequences routed to it that have not ended."""


class _Fleet:
    """State of one simulation."""

    def __init__(
        self,
        replica: Replica,
        replicas: int,
        front: FrontCosts,
        fronts: int,
        after_s: float,
        seed: int,
    ) -> None:
        self._env = simpy.Environment()
        self._replica, self._front = replica, front
        self._chance = random.Random(seed)
        self._free_at = [0.0] * fronts
        self._after_s = after_s
        self._last: dict[Sequence, float] = {}
        """When a sequence's last token reached the client."""
        self._room = WaitingRoom(replica.config.max_waiting, replica.config.max_waiting_tokens)
        self._outcome = FleetOutcome()
        self._engines = [self._engine() for _ in range(replicas)]

    def run(self, arrivals: Iterable[Arrival]) -> FleetOutcome:
        for engine in self._engines:
            self._env.process(self._serve(engine))
        self._env.process(self._arrive(arrivals))
        self._env.run()  # until nothing is left to happen
        self._outcome.preemptions = sum(one.scheduler.preemptions for one in self._engines)
        return self._outcome

    def _engine(self) -> _Engine:
        config = self._replica.config
        cache = KVCache(config.num_blocks or 0, config.block_size, reuse=config.prefix_cache)
        scheduler = Scheduler(
            cache,
            max_step_tokens=config.max_step_tokens,
            max_sequences=config.max_sequences,
            max_context=self._replica.max_context,
            tenant_share=config.tenant_share,
        )
        return _Engine(cache, scheduler, self._env.event())

    def _arrive(self, arrivals: Iterable[Arrival]) -> _Events:
        """Send each request through the HTTP application at its time."""
        env = self._env
        for number, arrival in enumerate(arrivals):
            if arrival.at_s > env.now:
                yield env.timeout(arrival.at_s - env.now)
            self._outcome.requests += 1
            through = self._through_front(number, self._front.request_s)
            if through > env.now:
                env.process(self._later(through, number, arrival))
            else:
                self._route(number, arrival)

    def _later(self, at: float, number: int, arrival: Arrival) -> _Events:
        yield self._env.timeout(at - self._env.now)
        self._route(number, arrival)

    def _through_front(self, number: int, seconds: float) -> float:
        """Return when the HTTP application of a request has worked so long for it."""
        index = number % len(self._free_at)
        self._free_at[index] = max(self._free_at[index], self._env.now) + seconds
        self._outcome.front_s += seconds
        return self._free_at[index]

    def _route(self, number: int, arrival: Arrival) -> None:
        """Give a request to the less busy of two replicas."""
        two = self._chance.sample(self._engines, min(2, len(self._engines)))
        engine = min(two, key=lambda one: one.open)
        prompt = (0,) * arrival.prompt
        params = _params(arrival.answer)
        sequence = Sequence(
            number, prompt, params, number, _ignore, _OPTIONS, arrived=self._env.now
        )
        self._last[sequence] = arrival.at_s
        engine.scheduler.check_fits(sequence)
        try:
            self._room.check(engine.scheduler.waiting, sequence, ())
        except QueueFull:
            self._outcome.refused += 1
            del self._last[sequence]
            return
        engine.scheduler.add(sequence)
        engine.open += 1
        if engine.idle:
            engine.idle = False
            engine.wake.succeed()

    def _serve(self, engine: _Engine) -> _Events:
        """Run steps as long as there are sequences, then wait for one."""
        env, scheduler, replica = self._env, engine.scheduler, self._replica
        while True:
            if not (scheduler.running or scheduler.waiting):
                engine.wake, engine.idle = env.event(), True
                yield engine.wake
            chunks = scheduler.schedule()
            work = StepWork.of((chunk.count, chunk.sequence.computed) for chunk in chunks)
            took = replica.costs.seconds(work) * self._chance.choice(replica.spread)
            self._note_begin(chunks)
            yield env.timeout(took)
            self._count(work, took)
            for chunk in chunks:
                self._take(engine, chunk)
            scheduler.charge(chunks, took)

    def _count(self, work: StepWork, seconds: float) -> None:
        self._outcome.busy_s += seconds
        self._outcome.steps += 1
        self._outcome.step_tokens += work.tokens
        self._outcome.step_sequences += work.sequences

    def _note_begin(self, chunks: Seq[ScheduledChunk]) -> None:
        for chunk in chunks:
            sequence = chunk.sequence
            new = not sequence.computed and not sequence.output_ids
            if new and sequence.arrived >= self._after_s:
                self._outcome.queued_s.append(self._env.now - sequence.arrived)

    def _take(self, engine: _Engine, chunk: ScheduledChunk) -> None:
        """Advance a sequence by what a step computed, and send its token, if it has one."""
        sequence, outcome = chunk.sequence, self._outcome
        samples = sequence.computed + chunk.count == sequence.length
        if samples:
            first = not sequence.output_ids
            sequence.append(0)
            came = self._through_front(sequence.id, self._front.token_s)
            if sequence.arrived >= self._after_s:
                (outcome.first_s if first else outcome.gaps_s).append(came - self._last[sequence])
            self._last[sequence] = came
            outcome.tokens += 1
            outcome.seconds = max(outcome.seconds, came)
        engine.scheduler.advance(sequence, chunk.count)
        if samples and len(sequence.output_ids) >= sequence.params.max_tokens:
            engine.scheduler.finish(sequence)
            engine.open -= 1
            del self._last[sequence]


_PARAMS: dict[int, SamplingParams] = {}


def _params(answer: int) -> SamplingParams:
    """Return how an answer of this length is asked for; made once, for the checks take time."""
    if answer not in _PARAMS:
        _PARAMS[answer] = SamplingParams(max_tokens=answer, ignore_eos=True, temperature=0.0)
    return _PARAMS[answer]


def _ignore(_: object) -> None:
    """Take no output."""
