from __future__ import annotations

from collections.abc import Sequence as Seq

import pytest

from ingot.artifact import Ingot
from ingot.inference.executors.base import ModelInput, Result
from ingot.inference.executors.native import NativeExecutor
from ingot.inference.scheduling.cost_model import StepWork
from ingot.inference.scheduling.measured_costs import measure_costs


class SlowExecutor:
    """Takes the time of a made-up machine, on a clock of its own."""

    num_blocks, block_size = 4096, 16

    def __init__(self, fixed_s: float, each_s: float) -> None:
        self.now, self.fixed_s, self.each_s = 0.0, fixed_s, each_s

    def step(self, inputs: Seq[ModelInput]) -> list[Result]:
        tokens = sum(len(one.token_ids) for one in inputs)
        self.now += self.fixed_s + self.each_s * tokens
        blocks = [block for one in inputs for block in one.block_table]
        assert len(set(blocks)) == len(blocks), "each sequence has blocks of its own"
        return [None] * len(inputs)


def test_a_machine_is_measured_within_the_time() -> None:
    machine = SlowExecutor(0.004, 1e-4)
    model = measure_costs(
        machine,  # type: ignore[arg-type]  # it has what is measured
        max_step_tokens=512,
        max_sequences=64,
        max_context=2048,
        clock=lambda: machine.now,
    )
    assert machine.now < 4.0
    for tokens, work in ((8, StepWork(8, 8, 800)), (200, StepWork(200, 1, 0, 20_100))):
        assert model.seconds(work) == pytest.approx(0.004 + 1e-4 * tokens, rel=0.1)


def test_a_machine_of_seconds_a_step_is_not_run_through_all_kinds() -> None:
    machine = SlowExecutor(1.0, 0.01)
    model = measure_costs(
        machine,  # type: ignore[arg-type]
        max_step_tokens=512,
        max_sequences=64,
        max_context=2048,
        clock=lambda: machine.now,
    )
    assert model.known
    assert machine.now < 9.0


def test_the_core_itself_is_measured_and_a_cache_that_is_too_small_leaves_kinds_out(
    ingot: Ingot,
) -> None:
    for blocks in (2, 64):
        executor = NativeExecutor(ingot, num_blocks=blocks, block_size=16)
        try:
            model = measure_costs(
                executor, max_step_tokens=512, max_sequences=64, max_context=128, limit_s=0.3
            )
        finally:
            executor.close()
        assert model.known
        assert 0 < model.seconds(StepWork(1, 1, 30)) < model.seconds(StepWork(2000, 8, 0, 10**6))
