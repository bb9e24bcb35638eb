"""A simulated machine that is held up now and then, and a whole engine on it."""

from __future__ import annotations

from collections.abc import Sequence as Seq
from dataclasses import dataclass, field

from ingot.inference import (
    Engine,
    EngineConfig,
    Objective,
    OutputDelta,
    RequestOptions,
    SamplingParams,
    Sequence,
)
from ingot.inference.capacity.traffic import Traffic
from ingot.inference.executors.base import ModelInput
from ingot.inference.request.sequence import SampledToken
from ingot.inference.scheduling.cost_model import CostModel
from ingot.inference.scheduling.forecast import NotInTime
from ingot.model import ModelConfig, Tokenizer
from tests.inference import simulated_machine


class Machine(simulated_machine.Machine):
    """The simulated machine, where something else takes half a second now and then."""

    def __init__(self, config: ModelConfig, blocks: int) -> None:
        super().__init__(config, blocks)
        self.stall_every = 0
        """After 200 steps, every so many are held up; 0 never."""
        self._steps = 0

    def step(self, inputs: Seq[ModelInput]) -> list[SampledToken | None]:
        self._steps += 1
        if self._steps > 200 and self.stall_every and self._steps % self.stall_every == 0:
            self.stall_s = 0.5
        return super().step(inputs)


@dataclass
class Ran:
    """What became of traffic on the whole engine."""

    first_s: list[float] = field(default_factory=list)
    gaps_s: list[float] = field(default_factory=list)
    tokens: int = 0
    refused: int = 0
    in_time: int = 0
    seconds: float = 0.0


def run_engine(
    config: ModelConfig,
    tokenizer: Tokenizer,
    limits: EngineConfig,
    traffic: Traffic,
    factor: float,
    cost: CostModel,
    objective: Objective,
) -> Ran:
    """Send each request at its time to an engine on the machine; return when its tokens came."""
    machine = Machine(config, limits.num_blocks or 1)
    engine = Engine(machine, tokenizer, limits, cost=cost, clock=machine.clock)
    began, ran = machine.now, Ran()
    waiting = list(reversed(traffic.requests))
    sequences: list[Sequence] = []
    while waiting or engine.has_work:
        if not engine.has_work:
            machine.now = max(machine.now, began + waiting[-1].at_s / factor)
        while waiting and began + waiting[-1].at_s / factor <= machine.now:
            request = waiting.pop()
            arrived, times = began + request.at_s / factor, list[float]()

            def take(
                delta: OutputDelta, arrived: float = arrived, times: list[float] = times
            ) -> None:
                for _ in delta.token_ids:
                    if times:
                        ran.gaps_s.append(machine.now - times[-1])
                    else:
                        ran.first_s.append(machine.now - arrived)
                    times.append(machine.now)
                    ran.tokens += 1

            params = SamplingParams(max_tokens=request.answer, ignore_eos=True, temperature=0.0)
            options = RequestOptions(objective=objective, elapsed_s=machine.now - arrived)
            try:
                sequences.append(engine.submit([7] * request.prompt, params, take, options))
            except NotInTime:
                ran.refused += 1
        engine.step()
    ran.seconds = machine.now - began
    ran.in_time = sum(one.timeliness is not None and one.timeliness.in_time for one in sequences)
    return ran
