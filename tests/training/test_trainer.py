from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
import torch

from ingot.corpus import CorpusConfig, build_corpus
from ingot.errors import Interrupted, RecipeError, TrainingError
from ingot.training import Recipe, Run, TrainingResult, checkpoint, open_run
from ingot.training.events import Checkpointed, Evaluated, Sampled, Stepped

MakeRecipe = Callable[..., Recipe]
NewRun = Callable[..., Run]


def final_weights(run: Run) -> dict[str, torch.Tensor]:
    return checkpoint.read_weights(checkpoint.latest(run.path))


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


def test_an_interrupted_run_goes_on_to_the_bit(
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
    whole = new_run(recipe(batch={"sequences": 8}), "whole")
    parts = new_run(recipe(batch={"sequences": 2, "accumulation": 4}), "parts")
    for run in (whole, parts):
        watch().train(run)
    for (_, one), (_, other) in zip(losses(whole), losses(parts), strict=True):
        assert one == pytest.approx(other, rel=1e-5)


@pytest.mark.parametrize(
    "settings", [{"optimizer": {"method": "adamw"}}, {"run": {"warm_start": False}}]
)
def test_other_ways_of_training_learn_too(
    recipe: MakeRecipe, new_run: NewRun, watched: Any, settings: dict[str, dict[str, object]]
) -> None:
    length = {"steps": 40, "evaluations": 2} | settings.pop("run", {})
    watched.train(new_run(recipe(run=length, **settings)))
    first, last = watched.of(Evaluated)
    assert last.loss < first.loss < 6.5


def test_a_budget_ends_the_run_by_the_clock(
    recipe: MakeRecipe, new_run: NewRun, watched: Any
) -> None:
    length = {"steps": None, "budget_seconds": 3.0, "evaluations": 1}
    run = new_run(recipe(run=length))
    result = watched.train(run)
    assert result.steps > 1
    assert watched.of(Stepped)[-1].learning_rate < 0.5  # the decay was reached
    assert checkpoint.read_state(checkpoint.latest(run.path)).finished


def test_a_budget_too_small_for_one_update_is_refused(
    recipe: MakeRecipe, new_run: NewRun, watched: Any
) -> None:
    run = new_run(recipe(run={"steps": None, "budget_seconds": 1e-4}))
    with pytest.raises(RecipeError, match="budget"):
        watched.train(run)


def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_checkpoint(
    recipe: MakeRecipe, new_run: NewRun, watch: Any
) -> None:
    run = new_run(recipe())
    watched = watch()
    watched.on_event = lambda event: (
        watched.interrupted.set() if isinstance(event, Stepped) and event.step == 2 else None
    )
    with pytest.raises(Interrupted):
        watched.train(run)
    folder = checkpoint.latest(run.path)
    state, weights = checkpoint.read_state(folder), checkpoint.read_weights(folder)
    weights["model.norm.weight"][0] = float("nan")
    checkpoint.save(run.path, state, weights, checkpoint.read_optimizer(folder))
    with pytest.raises(TrainingError, match=r"loss nan .* at step 3"):
        watch().train(open_run(run.path))
    assert checkpoint.latest(run.path).name == "step-00000002"


def test_a_changed_corpus_is_refused(
    recipe: MakeRecipe, new_run: NewRun, tmp_path: Path, source: Path, watch: Any
) -> None:
    run = new_run(recipe())
    other = build_corpus([source / "model"], tmp_path / "other", CorpusConfig(vocab_size=384))
    record = run.record.model_copy(update={"corpus": str(other.path)})
    (run.path / "run.json").write_text(record.model_dump_json())
    with pytest.raises(TrainingError, match="not the corpus this run began with"):
        watch().train(open_run(run.path))


TRAIN = """
import sys, threading
from pathlib import Path
from ingot.training import Trainer, open_run
Trainer(open_run(Path(sys.argv[1])), lambda event: print(type(event).__name__, flush=True),
        threading.Event()).train()
"""


def test_a_killed_run_goes_on_to_the_bit(recipe: MakeRecipe, new_run: NewRun, watch: Any) -> None:
    """SIGKILL at random moments, the writing of checkpoints included."""
    settings = {"steps": 60, "evaluations": 12, "checkpoint_seconds": 0.01}
    whole, killed = new_run(recipe(run=settings), "whole"), new_run(recipe(run=settings), "killed")
    watch().train(whole)
    chance = random.Random(0)
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", TRAIN, str(killed.path)], stdout=subprocess.PIPE
        )
        assert process.stdout
        for _ in range(chance.randrange(2, 30)):  # let it come so far, then a little further
            process.stdout.readline()
        time.sleep(chance.random() * 0.02)
        os.kill(process.pid, signal.SIGKILL)
        process.stdout.close()
        process.wait(30)
    watch().train(open_run(killed.path))
    assert_same_outcome(whole, killed)
