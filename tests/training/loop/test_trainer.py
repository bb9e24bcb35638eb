from __future__ import annotations

import math
import os
import random
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
import torch

from ingot.corpus import CorpusConfig, Sampler, build_corpus
from ingot.errors import Interrupted, RecipeError, ResourceError, TrainingError
from ingot.training.config.recipe import Recipe
from ingot.training.loop import outcomes
from ingot.training.loop.pending_step import Outcome, PendingStep
from ingot.training.loop.trainer import Trainer
from ingot.training.monitoring.events import (
    Checkpointed,
    Evaluated,
    Event,
    Sampled,
    Skipped,
    Stepped,
)
from ingot.training.monitoring.run_reporter import TrainingResult
from ingot.training.run_folder import checkpoint, checkpoint_tensors
from ingot.training.run_folder.run import Run, open_run

MakeRecipe = Callable[..., Recipe]
NewRun = Callable[..., Run]


def final_weights(run: Run) -> dict[str, torch.Tensor]:
    return checkpoint_tensors.read_weights(checkpoint.latest(run.path))


def losses(run: Run) -> list[tuple[int, float]]:
    records = map(orjson.loads, (run.path / "metrics.jsonl").read_bytes().splitlines())
    return [(record["step"], record["loss"]) for record in records if record["event"] == "stepped"]


def assert_same_outcome(one: Run, other: Run) -> None:
    assert losses(one) == losses(other)
    weights, others = final_weights(one), final_weights(other)
    assert weights.keys() == others.keys()
    assert all(torch.equal(weights[name], others[name]) for name in weights)


def test_the_model_learns_and_everything_is_told(
    recipe: MakeRecipe, new_run: NewRun, watched: Any
) -> None:
    run = new_run(recipe(run={"steps": 60, "evaluations": 3}))
    result = watched.train(run)
    assert isinstance(result, TrainingResult)
    evaluated = watched.of(Evaluated)
    assert len(evaluated) == 3
    assert evaluated[-1].loss < evaluated[0].loss < 5.95  # log 384: what guessing costs
    assert result.validation_loss == evaluated[-1].loss
    assert [event.step for event in watched.of(Stepped)] == list(range(1, 61))
    assert result.tokens == 60 * 32 * 4
    assert watched.of(Sampled)
    assert watched.of(Checkpointed)[-1].step == 60


def test_the_same_recipe_repeats_to_the_bit(
    recipe: MakeRecipe, new_run: NewRun, watch: Any
) -> None:
    runs = [new_run(recipe(), name) for name in ("one", "other")]
    for run in runs:
        watch().train(run)
    assert_same_outcome(*runs)


def test_another_seed_is_another_run(recipe: MakeRecipe, new_run: NewRun, watch: Any) -> None:
    one, other = new_run(recipe(), "one"), new_run(recipe(run={"seed": 1}), "other")
    for run in (one, other):
        watch().train(run)
    assert losses(one) != losses(other)


def test_an_interrupted_run_continues_to_the_bit(
    recipe: MakeRecipe, new_run: NewRun, watch: Any
) -> None:
    whole, parts = new_run(recipe(), "whole"), new_run(recipe(), "parts")
    watch().train(whole)
    for stop_at in (3, 7):
        watched = watch()
        watched.on_event = lambda event, w=watched, at=stop_at: (  # type: ignore[misc]
            w.interrupted.set() if isinstance(event, Stepped) and event.step == at else None
        )
        with pytest.raises(Interrupted, match="ingot resume"):
            watched.train(open_run(parts.path))
    watch().train(open_run(parts.path))
    assert_same_outcome(whole, parts)


def test_a_finished_run_is_not_trained_again(
    recipe: MakeRecipe, new_run: NewRun, watch: Any
) -> None:
    run = new_run(recipe())
    first = watch().train(run)
    again = watch()
    second = again.train(open_run(run.path))
    assert not again.of(Stepped)
    assert (second.steps, second.validation_loss) == (first.steps, first.validation_loss)


def test_accumulated_gradients_are_those_of_the_whole_batch(
    recipe: MakeRecipe, new_run: NewRun, watch: Any
) -> None:
    exact = {"precision": "float32"}  # bfloat16 rounds batches of other shapes otherwise
    whole = new_run(recipe(batch={"sequences": 8}, run=exact), "whole")
    parts = new_run(recipe(batch={"sequences": 2, "accumulation": 4}, run=exact), "parts")
    for run in (whole, parts):
        watch().train(run)
    for (_, one), (_, other) in zip(losses(whole), losses(parts), strict=True):
        assert one == pytest.approx(other, rel=1e-5)


@pytest.mark.parametrize(
    "settings",
    [
        {"optimizer": {"method": "adamw"}, "run": {"warm_start": False}},
        {"run": {"warm_start": False}},
    ],
)
def test_other_ways_of_training_learn_too(
    recipe: MakeRecipe, new_run: NewRun, watched: Any, settings: dict[str, dict[str, object]]
) -> None:
    length = {"steps": 40, "evaluations": 2} | settings.pop("run", {})
    watched.train(new_run(recipe(run=length, **settings)))
    first, last = watched.of(Evaluated)
    assert last.loss < first.loss < 6.5


@pytest.fixture
def update_takes(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Replace the clock by one on which an update takes some seconds and all else no time."""
    read, clock = PendingStep.wait, [0.0]

    def now() -> float:
        clock[0] += 1e-6  # no two moments are equal
        return clock[0]

    def patch(seconds: float) -> None:
        def slowly(self: PendingStep) -> Outcome:
            clock[0] += seconds
            return read(self)

        monkeypatch.setattr(PendingStep, "wait", slowly)
        monkeypatch.setattr("time.perf_counter", now)

    return patch


def test_a_budget_ends_the_run_by_the_clock(
    recipe: MakeRecipe, new_run: NewRun, watched: Any, update_takes: Callable[[float], None]
) -> None:
    length = {"steps": None, "budget_seconds": 3.0, "evaluations": 1}
    run = new_run(recipe(run=length))
    update_takes(0.1)
    result = watched.train(run)
    assert 10 < result.steps <= 31  # up to half the budget is kept for the last evaluation
    assert watched.of(Stepped)[-1].learning_rate < 0.5  # the decay was reached
    assert checkpoint.read_state(checkpoint.latest(run.path)).finished


def test_a_budget_that_set_up_has_spent_still_trains_a_little(
    recipe: MakeRecipe, new_run: NewRun, watched: Any
) -> None:
    """FAULTS D11: and the learning rate runs through its whole schedule."""
    run = new_run(recipe(run={"steps": None, "budget_seconds": 3.0}))
    trainer = Trainer(
        run, watched.observe, watched.interrupted, begun=time.perf_counter() - 1_000.0
    )
    assert trainer.train().steps == 8
    rates = [event.learning_rate for event in watched.of(Stepped)]
    assert rates[-1] < 0.5 < max(rates)
    assert checkpoint.read_state(checkpoint.latest(run.path)).elapsed > 1_000.0


def test_evaluations_and_samples_do_not_eat_up_a_budget(
    recipe: MakeRecipe, new_run: NewRun, watched: Any, update_takes: Callable[[float], None]
) -> None:
    """FAULTS D11: what does not fit is left out, but for the evaluation at the end."""
    length = {"steps": None, "budget_seconds": 3.0, "evaluations": 1_000, "samples": 1_000}
    update_takes(0.1)
    watched.train(new_run(recipe(run=length)))
    assert len(watched.of(Evaluated)) < len(watched.of(Stepped)) / 2


@pytest.mark.parametrize("behind", [0, 1])
def test_a_budget_too_small_for_one_update_is_refused(
    recipe: MakeRecipe,
    new_run: NewRun,
    watched: Any,
    monkeypatch: pytest.MonkeyPatch,
    update_takes: Callable[[float], None],
    behind: int,
) -> None:
    """Also where updates are waited for later than they are made."""
    update_takes(0.6)
    monkeypatch.setattr(outcomes, "outcome_lag", lambda _device: behind)
    run = new_run(recipe(run={"steps": None, "budget_seconds": 0.5}))
    with pytest.raises(RecipeError, match="one update takes"):
        watched.train(run)
    assert len(watched.of(Stepped)) <= 2


def test_an_update_that_is_not_finite_is_left_out_and_the_run_continues(
    recipe: MakeRecipe, new_run: NewRun, watched: Any
) -> None:
    """A weight is damaged for two updates: neither is made, and nothing of them stays behind."""
    run = new_run(recipe(run={"steps": 12, "evaluations": 1}))
    trainer = Trainer(run, watched.observe, watched.interrupted)
    gain = trainer._model.model.norm.weight.data
    kept: dict[str, torch.Tensor] = {}

    def damage(event: Event) -> None:
        if isinstance(event, Stepped) and event.step == 4:
            kept.update({k: v.clone() for k, v in trainer._model.state_dict().items()})
            gain[0] = float("nan")
        elif isinstance(event, Skipped) and event.in_a_row == 2:
            gain[0] = kept["model.norm.weight"][0]
            now = trainer._model.state_dict()
            assert all(torch.equal(value, now[name]) for name, value in kept.items())

    watched.on_event = damage
    result = trainer.train()
    assert [(event.step, event.in_a_row, event.total) for event in watched.of(Skipped)] == [
        (5, 1, 1),
        (6, 2, 2),
    ]
    made = [event.step for event in watched.of(Stepped)]
    assert made == [1, 2, 3, 4, 7, 8, 9, 10, 11, 12]
    assert math.isfinite(result.validation_loss)
    assert math.isfinite(result.training_loss)
    state = checkpoint.read_state(checkpoint.latest(run.path))
    assert (state.skipped, state.skipped_in_a_row) == (2, 0)


def test_a_run_that_ends_with_damaged_weights_is_no_success(
    recipe: MakeRecipe, new_run: NewRun, watched: Any
) -> None:
    run = new_run(recipe(run={"steps": 6, "evaluations": 3}))
    trainer = Trainer(run, watched.observe, watched.interrupted)
    watched.on_event = lambda event: (
        trainer._model.model.norm.weight.data.fill_(float("inf"))
        if isinstance(event, Stepped) and event.step == 5
        else None
    )
    with pytest.raises(TrainingError, match="the last checkpoint is intact"):
        trainer.train()
    assert checkpoint.latest(run.path).name == "step-00000004"
    assert not checkpoint.read_state(checkpoint.latest(run.path)).finished


def test_too_many_in_a_row_end_the_run_with_the_batch_saved_and_the_checkpoint_intact(
    recipe: MakeRecipe, new_run: NewRun, watch: Any
) -> None:
    run = new_run(recipe(batch={"sequences": 2, "accumulation": 2}, guard={"max_skipped": 3}))
    watched = watch()
    watched.on_event = lambda event: (
        watched.interrupted.set() if isinstance(event, Stepped) and event.step == 2 else None
    )
    with pytest.raises(Interrupted):
        watched.train(run)
    folder = checkpoint.latest(run.path)
    state, weights = checkpoint.read_state(folder), checkpoint_tensors.read_weights(folder)
    weights["model.norm.weight"][0] = float("nan")
    checkpoint_tensors.save(run.path, state, weights, checkpoint_tensors.read_optimizer(folder))
    again = watch()
    with pytest.raises(TrainingError, match=r"3 updates in a row, the last at step 5.*nonfinite-b"):
        again.train(open_run(run.path))
    assert [event.step for event in again.of(Skipped)] == [3, 4, 5]
    assert checkpoint.latest(run.path).name == "step-00000002"
    sampler = Sampler(run.open_corpus().train, context=32, batch=4, seed=run.recipe.run.seed)
    expected = [sampler.next_batch() for _ in range(5)][-1]
    saved = np.load(run.path / "nonfinite-batch.npy", allow_pickle=False)
    assert np.array_equal(saved, expected)


def test_a_disk_full_for_a_checkpoint_is_told_and_the_one_before_is_whole(
    recipe: MakeRecipe, new_run: NewRun
) -> None:
    run = new_run(recipe(run={"steps": 2000, "checkpoint_seconds": 0.01}))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(event: Event) -> None:
        if isinstance(event, Checkpointed):
            resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))

    try:
        with pytest.raises(ResourceError, match="the disk is full"):
            Trainer(run, fill, threading.Event()).train()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    folder = checkpoint.latest(run.path)
    assert checkpoint_tensors.read_weights(folder)
    assert checkpoint_tensors.read_optimizer(folder)


def test_a_changed_corpus_is_refused(
    recipe: MakeRecipe, new_run: NewRun, tmp_path: Path, source: Path, watch: Any
) -> None:
    run = new_run(recipe())
    other = build_corpus([source / "model"], tmp_path / "other", CorpusConfig(vocab_size=384))
    record = run.record.model_copy(update={"corpus": str(other.path)})
    (run.path / "run.json").write_text(record.model_dump_json())
    with pytest.raises(TrainingError, match=r"not the corpus this run began with .its digest was"):
        watch().train(open_run(run.path))


TRAIN = """
import sys, threading
from pathlib import Path
from ingot.training.loop.trainer import Trainer
from ingot.training.run_folder.run import open_run
Trainer(open_run(Path(sys.argv[1])), lambda event: print(type(event).__name__, flush=True),
        threading.Event()).train()
"""


@pytest.mark.parametrize(
    "kills", [2, pytest.param(30, marks=[pytest.mark.long, pytest.mark.timeout(900)])]
)
def test_a_killed_run_continues_to_the_bit(
    recipe: MakeRecipe, new_run: NewRun, watch: Any, kills: int
) -> None:
    """SIGKILL at random moments, the writing of checkpoints included."""
    settings = {"steps": 20 * kills, "evaluations": 12, "checkpoint_seconds": 0.01}
    whole, killed = new_run(recipe(run=settings), "whole"), new_run(recipe(run=settings), "killed")
    watch().train(whole)
    chance = random.Random(0)
    for _ in range(kills):
        process = subprocess.Popen(
            [sys.executable, "-c", TRAIN, str(killed.path)], stdout=subprocess.PIPE
        )
        assert process.stdout
        for _ in range(chance.randrange(2, 30)):  # let it come so far, then a little further
            process.stdout.readline()
        time.sleep(chance.random() * 0.02)
        os.kill(process.pid, signal.SIGKILL)
        process.stdout.close()
        process.wait(300)
    watch().train(open_run(killed.path))
    assert_same_outcome(whole, killed)
