"""Discrete-event simulation: a real engine on a machine whose steps take a made-up time."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Iterable
from dataclasses import dataclass, field

from ingot.inference import (
    Engine,
    EngineConfig,
    OutputDelta,
    QueueFull,
    RequestOptions,
    SamplingParams,
)
from ingot.inference.request.objective import Objective
from ingot.inference.request.sequence import Sequence
from ingot.inference.scheduling.cost_model import CostModel
from ingot.inference.scheduling.forecast import NotInTime
from ingot.inference.scheduling.measured_costs import measure_costs
from ingot.model import ModelConfig, Tokenizer
from tests.inference.simulated_machine import BLOCK, Machine


@dataclass
class Request:
    at: float
    prompt: int
    answer: int
    objective: Objective | None
    hangs_up_s: float | None = None
    late_allowed: bool = False
    tenant: str = ""
    # What came of it:
    sequence: Sequence | None = None
    refused: NotInTime | None = None
    times: list[float] = field(default_factory=list)
    ended: str | None = None

    @property
    def in_time(self) -> bool:
        assert self.sequence is not None
        assert self.sequence.timeliness is not None
        return self.ended == "length" and self.sequence.timeliness.in_time


class Simulation:
    """An engine and the machine it runs on; ``run`` sends requests at their times."""

    def __init__(
        self, config: ModelConfig, tokenizer: Tokenizer, *, measured: bool = True, **limits: int
    ) -> None:
        self.machine = Machine(config, 4096)
        settings = EngineConfig.model_validate(
            {"num_blocks": 4096, "block_size": BLOCK, "prefix_cache": False} | limits
        )
        cost = CostModel()
        if measured:
            cost = measure_costs(
                self.machine,
                max_step_tokens=settings.max_step_tokens,
                max_sequences=settings.max_sequences,
                max_context=config.max_position_embeddings,
                clock=self.machine.clock,
            )
        self.engine = Engine(self.machine, tokenizer, settings, cost=cost, clock=self.machine.clock)
        self.began = self.machine.now

    def submit(self, request: Request) -> None:
        machine = self.machine

        def receive(delta: OutputDelta) -> None:
            request.times.extend([machine.now] * len(delta.token_ids))
            request.ended = delta.finish_reason

        options = RequestOptions(
            objective=request.objective,
            late_allowed=request.late_allowed,
            tenant=request.tenant,
            elapsed_s=max(machine.now - self.began - request.at, 0.0),
        )
        params = SamplingParams(max_tokens=request.answer, ignore_eos=True, temperature=0.0)
        try:
            request.sequence = self.engine.submit([7] * request.prompt, params, receive, options)
        except NotInTime as error:
            request.refused = error
        except QueueFull:
            request.ended = "full"

    def run(self, requests: Iterable[Request], until_s: float | None = None) -> None:
        """Send requests, each at its time, and step until all have ended, or until a time."""
        numbers = itertools.count()
        events = [(one.at, next(numbers), one, False) for one in requests]
        heapq.heapify(events)
        machine, engine = self.machine, self.engine
        while events or engine.has_work:
            elapsed = machine.now - self.began
            if until_s is not None and elapsed >= until_s:
                return
            if events and (events[0][0] <= elapsed or not engine.has_work):
                at, _, request, leaves = heapq.heappop(events)
                machine.now = max(machine.now, self.began + at)
                if leaves and request.sequence is not None:
                    engine.cancel(request.sequence)
                elif not leaves:
                    self.submit(request)
                    if request.hangs_up_s is not None:
                        leaves_at = at + request.hangs_up_s
                        heapq.heappush(events, (leaves_at, next(numbers), request, True))
            else:
                engine.step()


def traffic(
    rate: float,
    seconds: float,
    objective: Objective | None,
    *,
    burstiness: float = 1.0,
    hang_ups: float = 0.3,
    seed: int = 0,
    tenant: str = "",
) -> list[Request]:
    """Return requests of mixed lengths; times between them have a gamma distribution."""
    chance, now = random.Random(seed), 0.0
    requests: list[Request] = []
    while True:
        now += chance.gammavariate(burstiness, 1 / (rate * burstiness))
        if now >= seconds:
            return requests
        requests.append(
            Request(
                now,
                chance.choice((32, 64, 128, 256, 512)),
                chance.choice((16, 32, 64, 128)),
                objective,
                chance.uniform(0.05, 1.0) if chance.random() < hang_ups else None,
                tenant=tenant,
            )
        )
