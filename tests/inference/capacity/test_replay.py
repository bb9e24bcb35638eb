"""A replay against the whole engine, on a machine whose steps take a made-up time."""

from __future__ import annotations

import dataclasses

import pytest

from ingot.errors import UsageError
from ingot.inference import EngineConfig
from ingot.inference.capacity.calibrate import calibrate
from ingot.inference.capacity.mix import read_mix
from ingot.inference.capacity.replay import Outcome, StepCosts, percentile, replay
from ingot.inference.capacity.search import carried
from ingot.inference.request.objective import Objective
from ingot.inference.scheduling.cost_model import CostModel, StepWork
from ingot.model import ModelConfig, Tokenizer
from tests.inference.capacity.machine import Machine, run_engine
from tests.inference.simulated_machine import BLOCK, seconds

OBJECTIVE = Objective(1.0, 0.05)
MIX = "prompt=32..384 answer=8..40 rate=30 seconds=8"
CONTEXT = 4096
LIMITS = EngineConfig(num_blocks=4096, block_size=BLOCK, prefix_cache=False)


@pytest.fixture(scope="module")
def long(config: ModelConfig) -> ModelConfig:
    return dataclasses.replace(config, max_position_embeddings=CONTEXT)


@pytest.fixture(scope="module")
def costs(long: ModelConfig, tokenizer: Tokenizer) -> StepCosts:
    machine = Machine(long, 4096)
    return calibrate(machine, tokenizer, LIMITS, read_mix(MIX), clock=machine.clock)


def test_calibration_finds_what_steps_take(costs: StepCosts) -> None:
    assert costs.stalled == 0
    for work in (StepWork(1, 1, 100), StepWork(32, 32, 6400), StepWork(400, 9, 1600, 60_000)):
        assert costs.model.seconds(work) == pytest.approx(seconds(work), rel=0.08)
    assert percentile(costs.spread, 50) == pytest.approx(1, abs=0.03)


def test_stalls_of_other_programs_are_left_out(long: ModelConfig, tokenizer: Tokenizer) -> None:
    machine = Machine(long, 4096)
    machine.stall_every = 10
    found = calibrate(machine, tokenizer, LIMITS, read_mix(MIX), clock=machine.clock)
    assert 0.01 < found.stalled < 0.2
    work = StepWork(32, 32, 6400)
    assert found.model.seconds(work) == pytest.approx(seconds(work), rel=0.15)


@pytest.mark.parametrize("factor", [0.5, 1.0, 1.5, 4.0])
def test_a_replay_foretells_what_the_engine_does(
    long: ModelConfig, tokenizer: Tokenizer, costs: StepCosts, factor: float
) -> None:
    """Within 15%: below what the machine carries, and where requests are refused."""
    traffic = read_mix(MIX)
    learnt = CostModel(costs.model.state())
    ran = run_engine(long, tokenizer, LIMITS, traffic, factor, learnt, OBJECTIVE)
    foretold = replay(traffic, LIMITS, costs, OBJECTIVE, max_context=CONTEXT, factor=factor)
    assert foretold.requests == len(ran.first_s) + ran.refused
    assert foretold.in_time == pytest.approx(ran.in_time, rel=0.15)
    assert (foretold.refused > 0) == (ran.refused > 0) == (factor > 1)
    assert foretold.answer_tokens == pytest.approx(ran.tokens, rel=0.15)
    for percent in (50, 90):
        first = percentile(ran.first_s, percent)
        assert percentile(foretold.first_s, percent) == pytest.approx(first, rel=0.15)
        gap = percentile(ran.gaps_s, percent)
        assert percentile(foretold.gaps_s, percent) == pytest.approx(gap, rel=0.15)
    assert foretold.seconds == pytest.approx(ran.seconds, rel=0.05)


def test_it_is_the_same_each_time_and_ends_early_when_told(costs: StepCosts) -> None:
    def run(most_late: float = float("inf")) -> Outcome:
        return replay(
            read_mix(MIX),
            LIMITS,
            costs,
            OBJECTIVE,
            max_context=CONTEXT,
            factor=8,
            most_late=most_late,
        )

    whole = run()
    assert whole == run()
    assert run(5).requests < whole.requests
    assert whole.requests == len(whole.first_s) + whole.refused
    assert 0 < whole.in_time < whole.requests


def test_a_shared_prefix_is_found_and_makes_room(costs: StepCosts) -> None:
    cached = LIMITS.model_copy(update={"prefix_cache": True})
    traffic = read_mix("prompt=300..384 answer=16 rate=10 seconds=6 shared=256")
    alone = replay(traffic, LIMITS, costs, OBJECTIVE, max_context=CONTEXT)
    shared = replay(traffic, cached, costs, OBJECTIVE, max_context=CONTEXT)
    assert (alone.hit_rate, alone.cached_tokens) == (0, 0)
    assert shared.hit_rate == pytest.approx(256 / 342, abs=0.05)
    assert shared.prompt_s < 0.5 * alone.prompt_s
    assert alone.prompt_tokens == shared.prompt_tokens == traffic.prompt_tokens


def test_the_search_ends_where_one_step_more_is_too_much(costs: StepCosts) -> None:
    traffic = read_mix(MIX)
    found = carried(traffic, LIMITS, costs, OBJECTIVE, max_context=CONTEXT)
    assert found is not None
    assert found.machines == (1 if found.factor >= 1 else 2)
    assert found.outcome is not None
    for factor, kept in ((found.factor, True), (1.1 * found.factor, False)):
        outcome = replay(traffic, LIMITS, costs, OBJECTIVE, max_context=CONTEXT, factor=factor)
        late = outcome.requests - outcome.in_time
        assert (late <= -(-len(traffic.requests) // 100)) == kept
    above = found.factor * 1.05
    assert carried(traffic, LIMITS, costs, OBJECTIVE, max_context=CONTEXT, above=above) is None


def test_more_traffic_takes_more_machines_and_what_cannot_be_kept_none(costs: StepCosts) -> None:
    heavy = read_mix("prompt=32..384 answer=8..40 rate=200 seconds=3")
    found = carried(heavy, LIMITS, costs, OBJECTIVE, max_context=CONTEXT)
    assert found is not None
    assert found.machines >= 3
    assert found.outcome is not None
    assert found.outcome.attainment >= 0.99
    impossible = Objective(0.001, 0.0001)
    light = read_mix("prompt=384 answer=8 rate=1 seconds=5")
    assert carried(light, LIMITS, costs, impossible, max_context=CONTEXT) == (
        type(found)(0.0, 0, None)
    )


def test_a_request_that_does_not_fit_is_named(costs: StepCosts) -> None:
    traffic = read_mix("prompt=4096 answer=8 rate=1 seconds=5")
    with pytest.raises(UsageError, match="do not fit in a context of 4096"):
        replay(traffic, LIMITS, costs, OBJECTIVE, max_context=CONTEXT)
