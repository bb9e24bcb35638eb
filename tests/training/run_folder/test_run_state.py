from __future__ import annotations

import pytest

from ingot.training.run_folder.run_state import RunState


def test_a_step_is_counted_and_the_state_before_it_stays() -> None:
    before = RunState(step=2, tokens=10, flops=5.0)
    after = before.with_step(tokens=4, flops=2.0, sampler={"position": 3})
    assert (after.step, after.tokens, after.flops, after.sampler) == (3, 14, 7.0, {"position": 3})
    assert (before.step, before.tokens, before.sampler) == (2, 10, {})


def test_losses_are_smoothed_and_the_first_and_last_kept() -> None:
    state = RunState().with_applied_loss(4.0).with_applied_loss(2.0)
    assert state.training_loss == pytest.approx(0.95 * 4.0 + 0.05 * 2.0)
    assert (state.first_loss, state.last_loss) == (4.0, 2.0)


def test_skipped_updates_are_counted_in_a_row_until_one_is_applied() -> None:
    state = RunState().with_skipped(finite=False).with_skipped(finite=False)
    assert (state.skipped, state.skipped_in_a_row) == (2, 2)
    spike = state.with_skipped(finite=True)
    assert (spike.skipped, spike.skipped_in_a_row) == (3, 0)
    applied = state.with_applied_loss(1.0)
    assert (applied.skipped, applied.skipped_in_a_row) == (2, 0)


def test_the_best_score_is_the_lowest() -> None:
    state = RunState(step=1).with_evaluation(3.0, 1.5)
    state = state.model_copy(update={"step": 2}).with_evaluation(4.0, 2.0)
    assert (state.best_loss, state.best_step) == (3.0, 1)
    assert (state.validation_loss, state.bits_per_byte) == (4.0, 2.0)


def test_a_run_that_follows_another_recipe_is_open_again() -> None:
    state = RunState(step=4, recipe={"run": {"steps": 4}}).as_finished()
    assert state.finished
    longer = state.following({"run": {"steps": 6}})
    assert (longer.finished, longer.recipe) == (False, {"run": {"steps": 6}})


def test_every_field_survives_being_written() -> None:
    state = RunState(step=3, recent_losses=[0.1, 2.0], recipe={"run": {"seed": 1}}, setup_s=0.5)
    state = state.with_digests({"model.safetensors": "0" * 64}).with_evaluation(1.0, None)
    assert RunState.model_validate_json(state.model_dump_json()) == state
