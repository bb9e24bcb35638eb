"""Drafts where they are worth their time, over a real engine on a simulated machine."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from itertools import pairwise

import pytest

from ingot.inference import Objective
from ingot.model import ModelConfig, Tokenizer
from tests.inference.simulation import Request, Simulation

OBJECTIVE = Objective(5.0, 0.1)


@pytest.fixture(scope="module")
def simulate(config: ModelConfig, tokenizer: Tokenizer) -> Callable[..., Simulation]:
    long = dataclasses.replace(config, max_position_embeddings=4096)
    return lambda **limits: Simulation(long, tokenizer, **limits)


def drafted(simulation: Simulation) -> tuple[int, int]:
    stats = simulation.engine.stats()
    return stats.drafted_tokens, stats.accepted_tokens


def test_drafts_that_are_never_right_are_given_up_but_tried_again(
    simulate: Callable[..., Simulation],
) -> None:
    """The prompt repeats one token, so that it is drafted; the machine always answers another."""
    with_objective, without = simulate(speculation=4), simulate(speculation=4)
    for simulation, objective in ((with_objective, OBJECTIVE), (without, None)):
        simulation.machine.wrong_drafts = True
        simulation.run([Request(0.0, 64, 400, objective) for _ in range(30)])
    few, right = drafted(with_objective)
    many, _ = drafted(without)
    assert right == 0
    assert 0 < few < many / 4


def test_drafts_that_are_right_are_made_where_a_step_has_room(
    simulate: Callable[..., Simulation],
) -> None:
    simulation = simulate(speculation=4)
    simulation.run([Request(0.0, 64, 400, OBJECTIVE) for _ in range(2)])
    made, right = drafted(simulation)
    assert right >= 0.8 * made > 100


def test_drafts_never_make_an_answer_late(simulate: Callable[..., Simulation]) -> None:
    simulation = simulate(speculation=8)
    tight = Objective(5.0, 0.008)
    requests = [Request(0.0, 32, 200, tight, late_allowed=True) for _ in range(8)]
    simulation.run(requests)
    for one in requests:
        at = sorted(set(one.times))
        assert sum(later - earlier > 0.008 for earlier, later in pairwise(at)) <= 2
