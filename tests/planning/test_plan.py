from __future__ import annotations

import dataclasses

import pytest

from ingot.planning import Machine, plan
from ingot.settings import merge_tables
from ingot.training.config.recipe import make_recipe

MACHINE = Machine("test", cores=2, memory_bytes=1 << 34, bfloat16=False, matmul_flops=1e11)
SLOW_MACHINE = dataclasses.replace(MACHINE, matmul_flops=1e10)  # its models are timed in less time


@pytest.mark.parametrize("budget", [5.0, 60.0, 300.0, 3600.0])
@pytest.mark.parametrize("size", [20_000, 1_000_000, 30_000_000])
def test_every_plan_is_a_recipe_that_fits_together(budget: float, size: int) -> None:
    planned = plan(budget, size, MACHINE)
    recipe = make_recipe(planned.tables)
    config = recipe.model.config(recipe.corpus.vocab_size, recipe.batch.context)
    assert recipe.run.budget_seconds == budget
    # A held-out window must fit into the held-out text.
    assert config.max_position_embeddings <= 0.02 * size / 3 + 16


def test_more_budget_buys_a_larger_model() -> None:
    sizes = [
        make_recipe(plan(budget, 1 << 25, SLOW_MACHINE).tables).model.config(512, 64).parameters
        for budget in (10.0, 300.0, 7200.0)
    ]
    assert sizes == sorted(set(sizes))


def test_every_choice_says_why_and_is_in_the_tables() -> None:
    planned = plan(60.0, 1 << 20, MACHINE)
    for choice in planned.choices:
        section, _, key = choice.key.partition(".")
        assert planned.tables[section][key] == choice.value
        assert choice.why


def test_a_plan_can_be_overridden() -> None:
    planned = plan(60.0, 1 << 20, MACHINE)
    recipe = make_recipe(merge_tables(planned.tables, {"model": {"hidden_size": 40}}))
    assert recipe.model.hidden_size == 40


def test_set_up_is_part_of_the_plan() -> None:
    """FAULTS D11: what measuring and building take is not promised to updates."""
    early, late = (plan(3600.0, 1 << 25, SLOW_MACHINE, setup) for setup in (0.0, 3500.0))
    sizes = [
        make_recipe(planned.tables).model.config(512, 64).parameters for planned in (early, late)
    ]
    assert sizes[1] < sizes[0]
    (budget,) = (choice for choice in late.choices if choice.key == "run.budget_seconds")
    assert "35" in budget.why


def test_a_budget_that_set_up_outlasts_gets_the_smallest_model() -> None:
    recipe = make_recipe(plan(1.0, 1 << 20, MACHINE, 100.0).tables)
    assert recipe.model.hidden_size == 64
