from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from ingot.inference.scheduling.step_cost import StepCost


def learnt(*steps: tuple[int, float]) -> StepCost:
    cost = StepCost()
    for tokens, seconds in steps:
        for _ in range(60):
            cost.observe(tokens, seconds)
    return cost


def test_a_fixed_part_and_a_part_for_each_token_are_found() -> None:
    cost = learnt((1, 0.011), (40, 0.05), (512, 0.522))
    assert abs(cost.seconds(20) - 0.030) < 1e-6
    assert abs(cost.seconds(1000) - 1.010) < 1e-6, "the last line is continued"
    assert cost.tokens_within(0.0101, beside=1, most=512) == 10
    assert cost.tokens_within(9.0, beside=1, most=512) == 512


def test_what_was_never_tried_costs_as_much_a_token_as_what_was() -> None:
    cost = learnt((40, 0.4))
    assert abs(cost.seconds(1) - 0.01) < 1e-9
    assert cost.tokens_within(0.0201, beside=1, most=512) == 2


def test_before_the_first_step_nothing_costs_anything() -> None:
    assert StepCost().tokens_within(0.0, beside=1, most=512) == 512


def test_one_stall_changes_little_and_a_lasting_change_is_followed() -> None:
    cost = learnt((1, 0.01))
    cost.observe(1, 5.0)
    assert cost.seconds(1) <= 0.0126
    cost = learnt((1, 0.01), (1, 0.02))
    assert abs(cost.seconds(1) - 0.02) < 1e-4


@given(st.lists(st.tuples(st.integers(1, 600), st.floats(1e-5, 10)), min_size=1))
def test_more_tokens_never_cost_less(steps: list[tuple[int, float]]) -> None:
    cost = StepCost()
    for tokens, seconds in steps:
        cost.observe(tokens, seconds)
    costs = [cost.seconds(tokens) for tokens in range(700)]
    assert costs[0] == 0
    assert all(later >= one - 1e-9 for one, later in pairwise(costs))


def test_a_step_that_took_no_time_teaches_nothing() -> None:
    cost = StepCost()
    cost.observe(16, 0.0)
    assert cost.seconds(16) == 0.0
    cost.observe(16, 0.01)
    for seconds in (0.0, -1.0):
        cost.observe(16, seconds)
    assert cost.seconds(16) == 0.01
