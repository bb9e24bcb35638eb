"""What a run does between its steps, seen in what it reports and leaves on disk."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch

from ingot.errors import Interrupted, TrainingError
from ingot.training.config.recipe import Recipe
from ingot.training.loop import between_steps
from ingot.training.monitoring.events import Checkpointed, Evaluated, Sampled, Stepped
from ingot.training.run_folder import checkpoint, checkpoint_tensors
from ingot.training.run_folder.run import PretrainingRun, edited_recipe, open_run

MakeRecipe = Callable[..., Recipe]
NewRun = Callable[..., PretrainingRun]


def test_what_is_reported_is_what_is_kept(
    recipe: MakeRecipe, new_run: NewRun, watched: Any
) -> None:
    run = new_run(recipe(run={"evaluations": 3, "samples": 2, "keep_checkpoints": 9}))
    watched.train(run)
    scores = {event.step: event for event in watched.of(Evaluated)}
    assert sorted(scores) == [4, 8, 12]
    assert [event.step for event in watched.of(Checkpointed)] == [4, 8, 12]
    for folder in checkpoint.folders(run.path):
        state = checkpoint.read_state(folder)
        assert state.validation_loss == scores[state.step].loss
        assert state.recipe == run.recipe.model_dump(mode="json")
    best = min(scores.values(), key=lambda event: event.loss)
    assert checkpoint.step_of(checkpoint.best(run.path)) == best.step
    assert best.best
    assert [event.step for event in watched.of(Sampled)] == [6, 12]


def test_an_evaluation_that_is_stopped_has_no_result_and_the_run_is_saved(
    recipe: MakeRecipe, new_run: NewRun, watch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FAULTS D4: an evaluation is left, the updates before it are kept, and it is made up for."""
    run, watched = new_run(recipe(run={"steps": 8, "evaluations": 2})), watch()
    real = between_steps.evaluate_model

    def interrupted(session: Any) -> bool:
        watched.interrupted.set()
        return real(session)

    monkeypatch.setattr(between_steps, "evaluate_model", interrupted)
    with pytest.raises(Interrupted, match="stopped after 4 updates, checkpoint written"):
        watched.train(run)
    assert not watched.of(Evaluated)
    state = checkpoint.read_state(checkpoint.latest(run.path))
    assert (state.step, state.validation_loss, state.finished) == (4, None, False)
    monkeypatch.undo()
    again = watch()
    again.train(open_run(run.path))
    assert [event.step for event in again.of(Stepped)] == [5, 6, 7, 8]
    assert checkpoint.read_state(checkpoint.latest(run.path)).finished


def test_a_recipe_is_rewritten_with_the_first_checkpoint_that_followed_it(
    recipe: MakeRecipe, new_run: NewRun, watch: Any
) -> None:
    """FAULTS D1: the record follows the act."""
    run, watched = new_run(recipe()), watch()
    watched.train(run)
    longer = recipe(run={"steps": 16})
    seen = []

    def note(event: object) -> None:
        seen.append((type(event).__name__, edited_recipe(run).run.steps))

    again = watch()
    again.on_event = note
    again.train(PretrainingRun(run.path, longer, run.tokenizer, run.record))
    written = next(index for index, (name, _) in enumerate(seen) if name == "Checkpointed")
    assert {steps for _, steps in seen[:written]} == {12}
    assert {steps for _, steps in seen[written:]} == {16}
    assert json.loads((run.path / "run.json").read_text())["recipe"]["run"]["steps"] == 12


def test_weights_of_another_model_are_refused_by_folder(
    recipe: MakeRecipe, new_run: NewRun, watched: Any, new_model: Any
) -> None:
    run = new_run(recipe())
    watched.train(run)
    folder = checkpoint.latest(run.path)
    with pytest.raises(TrainingError, match=r"step-00000012: does not fit the recipe's model"):
        between_steps.load_checkpoint_weights(new_model(), folder)
    weights = checkpoint_tensors.read_weights(folder)
    assert all(weight.dtype is torch.float32 for weight in weights.values())
