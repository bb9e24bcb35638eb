"""Costs of an engine's steps: measured here, or from the figures of a processor's maker.

``python -m benchmarks.fleet_costs INGOT SECONDS`` measures one engine with one thread and prints
what it has learnt.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel

from benchmarks.fleet import Replica
from ingot.api.executors import build_executor
from ingot.artifact import open_ingot
from ingot.inference.capacity.calibrate import calibrate
from ingot.inference.capacity.mix import read_mix
from ingot.inference.config import EngineConfig
from ingot.inference.scheduling.cost_model import CostModel, CostState, StepWork

ENGINE = EngineConfig(threads=1, prefix_cache=False)
"""Limits of each measured replica."""
_MIX = "prompt=16..512 answer=8..64 rate=8 seconds=30"


class Learnt(BaseModel):
    """What was measured of an engine."""

    costs: CostState
    spread: list[float]


def measured(ingot: Path, seconds: float) -> Replica:
    """Return a replica of an ingot that has this machine alone, with one thread."""
    command = [sys.executable, "-m", "benchmarks.fleet_costs", str(ingot), str(seconds)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)  # noqa: S603
    found = Learnt.model_validate_json(done.stdout)
    return of_ingot(ingot, CostModel(found.costs), tuple(found.spread))


def of_ingot(ingot: Path, costs: CostModel, spread: tuple[float, ...] = (1.0,)) -> Replica:
    """Return a replica of an ingot whose steps have these costs."""
    with open_ingot(ingot, verify=False) as opened:
        blocks = ENGINE.blocks_for(opened.config)
        context = opened.config.max_position_embeddings
    return Replica(costs, ENGINE.model_copy(update={"num_blocks": blocks}), context, spread)


@dataclass(frozen=True)
class Roofline:
    """Steps of a dense model as long as reading its weights and keys, or computing, takes.

    Figures per second are of all processors of a replica, and include how much of the maker's
    figure programs reach.
    """

    parameters: float
    weight_bytes: float
    key_bytes: float
    """Of the keys and values of one token in all layers."""
    attention: float
    """Multiplications of one token with one key in all layers, scores and values."""
    bytes_per_s: float
    operations_per_s: float
    fixed_s: float
    """Of each step: launches, and messages between processors."""

    def seconds(self, work: StepWork) -> float:
        """Return the seconds of a step."""
        read = self.weight_bytes + self.key_bytes * work.decode_keys
        keys = work.decode_keys + work.prefill_keys
        computed = 2 * (self.parameters * work.tokens + self.attention * keys)
        return self.fixed_s + max(read / self.bytes_per_s, computed / self.operations_per_s)


def paper_70b_gpus() -> Replica:
    """Return a 70B model in bfloat16 on eight H100: NVIDIA's data sheet, of which 70% and 50%.

    The shape is that of Llama 3 70B: 80 layers, 64 heads, 8 of keys, of 128. Each step has 160
    sums over eight processors, of some 10 microseconds.
    """
    costs = Roofline(70.6e9, 141e9, 327_680, 1_310_720, 0.7 * 8 * 3.35e12, 0.5 * 8 * 989e12, 2.5e-3)
    return _paper(costs, cache_bytes=8 * 80e9 * 0.9 - 141e9, step_tokens=1024, sequences=256)


def paper_70b_cpus() -> Replica:
    """Return a 70B model in int4 on a server with two sockets of 12 channels of DDR5-6400.

    1,229 GB/s by the channels' figures, of which 70%; 256 cores with VNNI at 2.5 GHz reach
    some 40e12 operations a second in int8 by our kernels' share of the peak.
    """
    costs = Roofline(70.6e9, 39.7e9, 327_680, 1_310_720, 0.7 * 1.229e12, 40e12, 1e-3)
    return _paper(costs, cache_bytes=256e9, step_tokens=256, sequences=64)


def _paper(costs: Roofline, *, cache_bytes: float, step_tokens: int, sequences: int) -> Replica:
    config = EngineConfig(
        max_step_tokens=step_tokens,
        max_sequences=sequences,
        num_blocks=int(cache_bytes / costs.key_bytes / 16),
        prefix_cache=False,
    )
    return Replica(costs, config, 8192)


def main(argv: Sequence[str]) -> None:
    """Measure one engine, and print what it has learnt."""
    ingot, seconds = Path(argv[0]), float(argv[1])
    with open_ingot(ingot) as opened:
        executor = build_executor("auto", "stored", opened, ENGINE)
        try:
            found = calibrate(executor, opened.tokenizer, ENGINE, read_mix(_MIX), limit_s=seconds)
        finally:
            executor.close()
    learnt = Learnt(costs=found.model.state(), spread=list(found.spread))
    sys.stdout.write(learnt.model_dump_json() + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
