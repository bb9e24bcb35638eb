"""Objectives over real engines on simulated machines: no time passes here but theirs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from itertools import pairwise

import pytest

from ingot.inference import Objective
from ingot.model import ModelConfig, Tokenizer
from tests.inference.simulation import Request, Simulation, traffic

OBJECTIVE = Objective(1.0, 0.02)
CAPACITY = 25.0
"""Requests of ``traffic`` per second that the machine answers in time, about."""

MakeSimulation = Callable[..., Simulation]


@pytest.fixture(scope="module")
def simulate(config: ModelConfig, tokenizer: Tokenizer) -> MakeSimulation:
    long = dataclasses.replace(config, max_position_embeddings=4096)
    return lambda **limits: Simulation(long, tokenizer, **limits)


def ended(requests: list[Request]) -> list[Request]:
    return [one for one in requests if one.ended == "length"]


@pytest.mark.parametrize("burstiness", [1.0, 0.3])
def test_goodput_stays_whatever_the_load_and_what_is_accepted_is_in_time(
    simulate: MakeSimulation, burstiness: float
) -> None:
    goodput = {}
    for load in (1, 4, 16):
        requests = traffic(load * CAPACITY, 5.0, OBJECTIVE, burstiness=burstiness)
        simulate().run(requests)
        done = ended(requests)
        goodput[load] = sum(one.in_time for one in done)
        assert goodput[load] >= 0.985 * len(done), f"at {load} times the capacity"
        assert load < 2 or any(one.refused for one in requests)
    assert min(goodput[4], goodput[16]) >= 0.9 * goodput[1]


def test_no_running_answer_waits_longer_than_its_objective_for_a_long_prompt(
    simulate: MakeSimulation,
) -> None:
    simulation = simulate()
    short = [Request(0.0, 32, 200, OBJECTIVE) for _ in range(8)]
    long = Request(0.3, 3000, 4, Objective(ttft_s=20.0))
    simulation.run([*short, long])
    for one in short:
        assert max(after - before for before, after in pairwise(one.times)) <= 0.02
    assert long.in_time


def test_without_an_objective_the_same_prompt_holds_them_up(simulate: MakeSimulation) -> None:
    short = [Request(0.0, 32, 200, None) for _ in range(8)]
    simulate().run([*short, Request(0.3, 3000, 4, None)])
    assert max(after - before for before, after in pairwise(short[0].times)) > 0.04


def test_the_one_with_the_least_slack_is_next_and_not_the_first_that_came(
    simulate: MakeSimulation,
) -> None:
    simulation = simulate(max_sequences=1, max_step_tokens=64)
    first = Request(0.0, 64, 64, Objective(ttft_s=5.0))
    patient = Request(0.01, 64, 8, Objective(ttft_s=30.0))
    hurried = Request(0.02, 64, 8, Objective(ttft_s=2.0))
    simulation.run([first, patient, hurried])
    assert first.times[-1] < hurried.times[0] < patient.times[0]
    assert first.in_time
    assert hurried.in_time
    assert patient.in_time


def test_one_that_is_late_gives_way_and_is_served_when_there_is_room(
    simulate: MakeSimulation,
) -> None:
    simulation = simulate()
    late = [Request(0.0, 400, 64, Objective(0.001, 0.02), late_allowed=True) for _ in range(30)]
    crowd = traffic(CAPACITY * 0.6, 6.0, OBJECTIVE, seed=3, hang_ups=0.0)
    simulation.run([*late, *crowd])
    assert all(one.ended == "length" for one in late)
    done = ended(crowd)
    assert sum(one.in_time for one in done) >= 0.98 * len(done)
    assert not any(one.in_time for one in late)


def test_a_late_request_is_passed_a_bounded_number_of_times(simulate: MakeSimulation) -> None:
    """Once it is the oldest, a flood that is always in time takes 32 turns, and then it runs."""
    simulation = simulate(max_sequences=1, max_step_tokens=64)
    late = Request(0.05, 64, 4, Objective(0.001), late_allowed=True)
    flood = [Request(0.001 * index, 32, 4, Objective(ttft_s=60.0)) for index in range(200)]
    simulation.run([*flood, late])
    before = sum(one.times[0] < late.times[0] for one in flood)
    assert late.ended == "length"
    older = 50
    assert older + 10 <= before <= older + 34


def test_one_key_that_is_late_gives_way_to_another_that_is_not_but_not_for_ever(
    simulate: MakeSimulation,
) -> None:
    simulation = simulate(max_sequences=1, max_step_tokens=64)
    busy = Request(0.0, 32, 32, Objective(ttft_s=60.0), tenant="other")
    late = [
        Request(0.001, 32, 4, Objective(0.001), late_allowed=True, tenant=f"late {index}")
        for index in range(3)
    ]
    flood = [
        Request(0.002 + 0.001 * index, 32, 4, Objective(ttft_s=60.0), tenant="prompt")
        for index in range(150)
    ]
    simulation.run([busy, *late, *flood])
    before = [sum(one.times[0] < each.times[0] for one in flood) for each in late]
    assert min(before) >= 10, "the late ones are of keys that were served least, and give way"
    assert max(before) <= 4 * 33


def test_a_running_answer_without_an_objective_is_left_out_a_bounded_number_of_steps(
    simulate: MakeSimulation,
) -> None:
    simulation = simulate()
    filling = [Request(0.0, 16, 60, None) for _ in range(40)]
    held = [Request(1.0, 16, 200, Objective(1.0, 0.006)) for _ in range(4)]
    simulation.run([*filling, *held])
    assert all(one.ended == "length" for one in [*filling, *held])
    gaps = [after - before for one in filling for before, after in pairwise(one.times)]
    assert max(gaps) < 9 * 0.012
    assert all(one.in_time for one in held)


def test_a_refusal_says_when_it_could_be_in_time(simulate: MakeSimulation) -> None:
    simulation = simulate(max_sequences=4)
    running = [Request(0.0, 64, 400, OBJECTIVE) for _ in range(4)]
    refused = Request(0.5, 64, 8, OBJECTIVE)
    simulation.run([*running, refused])
    assert refused.refused is not None
    assert refused.refused.reason == "queue"
    assert 'late="allow"' in str(refused.refused)
    retry_s = refused.refused.retry_s
    again = simulate(max_sequences=4)
    running = [Request(0.0, 64, 400, OBJECTIVE) for _ in range(4)]
    second = Request(0.5 + retry_s + 0.3, 64, 8, OBJECTIVE)
    again.run([*running, second])
    assert second.in_time


def test_what_nothing_can_meet_is_refused_but_tried_again(simulate: MakeSimulation) -> None:
    simulation = simulate()
    impossible = Objective(1.0, 0.001)
    requests = [Request(0.1 * index, 64, 32, impossible) for index in range(300)]
    simulation.run(requests)
    accepted = [one for one in requests if one.sequence and not one.refused]
    assert 2 <= len(accepted) <= 6, "one in ten seconds"
    assert {one.refused.reason for one in requests if one.refused} == {"token"}
    prompts = simulate()
    long = [Request(0.1 * index, 4000, 4, Objective(0.01)) for index in range(20)]
    prompts.run(long)
    assert {one.refused.reason for one in long if one.refused} == {"prompt"}
    best = prompts.engine.objectives.best(128)
    assert best.ttft_s == pytest.approx(0.0155, rel=0.4)
    assert best.itl_s == pytest.approx(0.0041, rel=0.4)


@pytest.mark.parametrize("slowness", [2.0, 0.5])
def test_a_change_of_speed_is_followed_within_ten_seconds(
    simulate: MakeSimulation, slowness: float
) -> None:
    simulation = simulate()
    requests = traffic(CAPACITY, 24.0, OBJECTIVE, hang_ups=0.0)
    simulation.run([one for one in requests if one.at < 4], until_s=4.0)
    simulation.machine.slowness = slowness
    rest = [one for one in requests if one.at >= 4]
    simulation.run(rest)
    settled = ended([one for one in rest if one.at >= 14])
    assert len(settled) > 20, "not everything is refused"
    assert sum(one.in_time for one in settled) >= 0.98 * len(settled)
    assert simulation.engine.objectives.pacing.cost.error < 0.2


def test_a_stall_of_five_seconds_passes(simulate: MakeSimulation) -> None:
    simulation = simulate()
    requests = traffic(CAPACITY * 0.8, 20.0, OBJECTIVE, hang_ups=0.0)
    simulation.run([one for one in requests if one.at < 5], until_s=5.0)
    simulation.machine.stall_s = 5.0
    rest = [one for one in requests if one.at >= 5]
    simulation.run(rest)
    after = [one for one in rest if one.at >= 15]
    done = ended(after)
    assert len(done) >= 0.6 * len(after)
    assert sum(one.in_time for one in done) >= 0.98 * len(done)


@pytest.mark.parametrize("within_a_step", [True, False])
def test_a_clock_that_jumps_an_hour_ahead_passes(
    simulate: MakeSimulation, within_a_step: bool
) -> None:
    simulation = simulate()
    requests = traffic(CAPACITY * 0.8, 25.0, OBJECTIVE, hang_ups=0.0)
    simulation.run([one for one in requests if one.at < 5], until_s=5.0)
    simulation.began += 3600.0
    if within_a_step:
        simulation.machine.stall_s = 3600.0
    else:
        simulation.machine.now += 3600.0
    rest = [one for one in requests if one.at >= 5]
    simulation.run(rest)
    after = [one for one in rest if one.at >= 15]
    done = ended(after)
    assert len(done) >= 0.6 * len(after), "it does not refuse for ever"
    assert sum(one.in_time for one in done) >= 0.98 * len(done)


def test_a_clock_that_stands_for_a_thousand_steps_passes(simulate: MakeSimulation) -> None:
    simulation = simulate()
    requests = traffic(CAPACITY * 0.8, 20.0, OBJECTIVE, hang_ups=0.0)
    simulation.run([one for one in requests if one.at < 5], until_s=5.0)
    simulation.machine.slowness = 0.0
    for _ in range(12):
        simulation.run([Request(5.0, 64, 100, OBJECTIVE) for _ in range(40)])
    simulation.machine.slowness = 1.0
    rest = [one for one in requests if one.at >= 5]
    simulation.run(rest)
    done = ended(rest)
    assert len(done) >= 0.6 * len(rest)
    assert sum(one.in_time for one in done) >= 0.98 * len(done)


def test_an_engine_that_knows_nothing_yet_learns(simulate: MakeSimulation) -> None:
    requests = traffic(CAPACITY, 12.0, OBJECTIVE, hang_ups=0.0)
    simulation = simulate(measured=False)
    simulation.run(requests)
    late = ended([one for one in requests if one.at >= 6])
    assert len(late) > 50
    assert sum(one.in_time for one in late) >= 0.97 * len(late)


def test_what_was_kept_is_counted(simulate: MakeSimulation) -> None:
    simulation = simulate()
    assert simulation.engine.stats().objectives is None
    requests = traffic(2 * CAPACITY, 5.0, OBJECTIVE)
    simulation.run(requests)
    stats = simulation.engine.stats().objectives
    assert stats is not None
    done = ended(requests)
    assert stats.in_time == sum(one.in_time for one in done)
    assert stats.in_time + stats.late == len(done)
    assert sum(stats.refused.values()) == sum(one.refused is not None for one in requests)
    assert stats.attainment == pytest.approx(stats.in_time / len(done))
    assert stats.goodput == pytest.approx(stats.in_time / 60)
    assert stats.predicted_s == pytest.approx(stats.measured_s, rel=0.05)
    assert stats.prediction_error < 0.05
