"""Updates whose outcome is read late, as on a GPU, are those whose outcome is read at once."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from ingot.corpus import Sampler
from ingot.errors import TrainingError
from ingot.training.config.recipe import Recipe
from ingot.training.loop import outcomes
from ingot.training.loop.pending_step import Outcome, PendingStep
from ingot.training.loop.trainer import Trainer
from ingot.training.monitoring.events import Checkpointed, Skipped, Stepped
from ingot.training.run_folder import checkpoint, checkpoint_tensors
from ingot.training.run_folder.run import Run

MakeRecipe = Callable[..., Recipe]
NewRun = Callable[..., Run]


@pytest.fixture
def late(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read outcomes one update late, as a GPU's are."""
    monkeypatch.setattr(outcomes, "outcome_lag", lambda _device: 1)


def stepped(watched: Any) -> list[tuple[int, float, float, int]]:
    return [
        (event.step, event.loss, event.gradient_norm, event.tokens) for event in watched.of(Stepped)
    ]


def test_late_outcomes_are_the_same_to_the_bit(
    recipe: MakeRecipe, new_run: NewRun, watch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    length = {"steps": 12, "evaluations": 3, "samples": 2}
    at_once, behind = watch(), watch()
    runs = [new_run(recipe(run=length), name) for name in ("at_once", "behind")]
    results = [at_once.train(runs[0])]
    monkeypatch.setattr(outcomes, "outcome_lag", lambda _device: 1)
    results.append(behind.train(runs[1]))
    assert stepped(behind) == stepped(at_once)
    assert results[1].validation_loss == results[0].validation_loss
    folders = [checkpoint.latest(run.path) for run in runs]
    one, other = map(checkpoint_tensors.read_weights, folders)
    assert all(torch.equal(one[name], other[name]) for name in one)
    kept = [checkpoint.read_state(folder) for folder in folders]
    for name in ("training_loss", "recent_losses", "tokens", "flops", "sampler"):
        assert getattr(kept[1], name) == getattr(kept[0], name)
    # What is due after an update comes after that update's figures.
    told = [
        [(type(event), event.step) for event in watched.events if type(event) is not Checkpointed]
        for watched in (at_once, behind)
    ]
    assert told[1] == told[0]


@pytest.mark.usefixtures("late")
def test_an_update_that_is_not_finite_is_left_out_although_that_is_known_late(
    recipe: MakeRecipe, new_run: NewRun, watched: Any
) -> None:
    run = new_run(recipe(run={"steps": 12, "evaluations": 1, "samples": 0}))
    trainer = Trainer(run, watched.observe, watched.interrupted)
    gain = trainer._model.model.norm.weight.data
    kept: list[torch.Tensor] = []

    def damage(event: Any) -> None:
        if isinstance(event, Stepped) and event.step == 4:
            kept.append(gain.clone())
            gain[0] = float("nan")
        elif isinstance(event, Skipped) and event.total == 1:
            damaged = torch.tensor([float("nan"), *kept[0][1:].tolist()])
            assert torch.equal(gain.nan_to_num(), damaged.nan_to_num())
            gain.copy_(kept[0])

    watched.on_event = damage
    assert trainer.train().steps == 12
    # Told of update 4 after update 5 was made; of 6, the first without, after 7.
    assert [(event.step, event.in_a_row) for event in watched.of(Skipped)] == [(6, 1), (7, 2)]
    made = [event.step for event in watched.of(Stepped)]
    assert made == [1, 2, 3, 4, 5, 8, 9, 10, 11, 12]


@pytest.mark.usefixtures("late")
def test_the_batch_that_is_saved_is_that_of_the_update_told_of(
    recipe: MakeRecipe, new_run: NewRun, watched: Any
) -> None:
    run = new_run(
        recipe(run={"steps": 12, "evaluations": 1, "samples": 0}, guard={"max_skipped": 2})
    )
    trainer = Trainer(run, watched.observe, watched.interrupted)

    def damage(event: Any) -> None:
        if isinstance(event, Stepped) and event.step == 2:
            trainer._model.model.norm.weight.data[0] = float("nan")

    watched.on_event = damage
    with pytest.raises(TrainingError, match="2 updates in a row, the last at step 5"):
        trainer.train()
    sampler = Sampler(run.open_corpus().train, context=32, batch=4, seed=run.recipe.run.seed)
    expected = [sampler.next_batch() for _ in range(5)][-1]
    saved = np.load(run.path / "nonfinite-batch.npy", allow_pickle=False)
    assert np.array_equal(saved, expected)


@pytest.mark.usefixtures("late")
def test_a_spike_that_is_rolled_back_is_never_known_late(
    recipe: MakeRecipe, new_run: NewRun, watched: Any
) -> None:
    guard = {"spike_window": 8, "spike_score": 20.0, "on_spike": "roll_back"}
    run = new_run(recipe(guard=guard, run={"steps": 19, "evaluations": 2, "samples": 0}))
    trainer = Trainer(run, watched.observe, watched.interrupted)
    gain = trainer._model.model.norm.weight.data

    def damage(event: Any) -> None:
        if isinstance(event, Stepped) and event.step == 12:
            gain.mul_(-30)

    watched.on_event = damage
    trainer.train()
    told = [(event.step, event.why, event.back_to) for event in watched.of(Skipped)]
    assert told == [(13, "spike", 10)]


@pytest.mark.usefixtures("late")
def test_time_waited_for_late_outcomes_is_training_time(
    recipe: MakeRecipe, new_run: NewRun, watched: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A device that takes its time: speeds tell of it, also where outcomes are settled at once."""
    read, each = PendingStep.wait, 0.1

    def slowly(self: PendingStep) -> Outcome:
        time.sleep(each)
        return read(self)

    monkeypatch.setattr(PendingStep, "wait", slowly)
    watched.train(new_run(recipe(run={"steps": 12, "evaluations": 6})))
    assert watched.of(Stepped)[-1].tokens_per_second < 1.2 * 128 / each  # one is still to come
