"""Two processes train one model: the same losses as one process, and either resumes it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import orjson
import pytest
import torch

from ingot.errors import RecipeError
from ingot.training.config.recipe import Recipe
from ingot.training.data.batch import Batch
from ingot.training.distributed.data_parallel import Workers
from ingot.training.run_folder import checkpoint
from ingot.training.run_folder.run import Run

TRAIN = """
import atexit, os, sys, threading
from pathlib import Path
import torch
from ingot.training.loop.trainer import Trainer
from ingot.training.run_folder.run import open_run
from ingot.training.distributed.fsdp import load_weights, local, full_weights
from ingot.training.distributed.data_parallel import Workers
# Registered first, so asked last: a group left open aborts some processes as they end.
atexit.register(lambda: torch.distributed.is_initialized() and os._exit(7))
workers = Workers.join()
assert workers.count == 2
run = open_run(Path(sys.argv[1]))
trainer = Trainer(run, lambda event: None, threading.Event(), workers)
result = trainer.train()
weights = list(trainer._model.parameters())
held = sum(local(weight).numel() for weight in weights) / sum(weight.numel() for weight in weights)
if run.recipe.run.shard:  # what is taken out whole can be put back
    before = full_weights(trainer._model)
    with torch.no_grad():
        for weight in weights:
            local(weight).zero_()
    load_weights(trainer._model, before)
    after = full_weights(trainer._model)
    assert all(torch.equal(after[name], value) for name, value in before.items())
# Written whole, or both would share a line.
sys.stdout.write(f"{workers.rank} {result.steps} {held:.1f}\\n")
"""


def losses(run: Run, name: str = "loss") -> list[float]:
    records = map(orjson.loads, (run.path / "metrics.jsonl").read_bytes().splitlines())
    return [record[name] for record in records if record["event"] == "stepped"]


def train_in_two(run: Run) -> str:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"),
            *("--no-python", sys.executable, "-c", TRAIN, str(run.path)),
        ],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def remove_last_checkpoint(run: Run) -> None:
    doomed = checkpoint.latest(run.path)
    for file in doomed.iterdir():
        file.unlink()
    doomed.rmdir()


def test_two_processes_are_as_good_as_one_and_one_continues(
    recipe: Callable[..., Recipe], new_run: Callable[..., Run], watch: Any
) -> None:
    settings = {
        "batch": {"sequences": 2, "accumulation": 4},
        "run": {"steps": 8, "evaluations": 2, "precision": "float32"},
    }
    alone, together = new_run(recipe(**settings), "alone"), new_run(recipe(**settings), "together")
    result = watch().train(alone)
    assert sorted(train_in_two(together).splitlines()) == ["0 8 1.0", "1 8 1.0"]
    assert losses(together) == pytest.approx(losses(alone), rel=1e-5)
    state = checkpoint.read_state(checkpoint.latest(together.path))
    assert state.finished
    assert state.validation_loss == pytest.approx(result.validation_loss, rel=1e-4)
    remove_last_checkpoint(together)
    watch().train(together)  # from step 4, alone
    assert losses(together) == pytest.approx(losses(alone), rel=1e-5)


@pytest.mark.parametrize(
    "resumed", [False, pytest.param(True, marks=pytest.mark.long)], ids=["whole", "resumed"]
)
def test_a_model_cut_among_two_is_as_good_as_a_whole_one(
    recipe: Callable[..., Recipe], new_run: Callable[..., Run], watch: Any, resumed: bool
) -> None:
    length = {"steps": 6, "evaluations": 2, "samples": 2, "precision": "float32"}
    settings = {
        "batch": {"sequences": 2, "accumulation": 4, "recompute": True},
        "optimizer": {"clip_norm": 0.5, "weight_decay": 0.1},
    }
    alone = new_run(recipe(run=length, **settings), "alone")
    cut = new_run(recipe(run=length | {"shard": True}, **settings), "cut")
    result = watch().train(alone)
    assert sorted(train_in_two(cut).splitlines()) == ["0 6 0.5", "1 6 0.5"]
    assert losses(cut) == pytest.approx(losses(alone), rel=1e-5)
    assert losses(cut, "gradient_norm") == pytest.approx(losses(alone, "gradient_norm"), rel=1e-4)
    state = checkpoint.read_state(checkpoint.latest(cut.path))
    assert state.finished
    assert state.validation_loss == pytest.approx(result.validation_loss, rel=1e-4)
    if not resumed:
        return
    remove_last_checkpoint(cut)
    train_in_two(cut)  # from step 3, with what they had written
    assert losses(cut) == pytest.approx(losses(alone), rel=1e-5)


@pytest.mark.long
@pytest.mark.parametrize("shard", [False, True], ids=["copies", "cut"])
def test_two_processes_are_as_good_as_one_in_the_machines_own_precision(
    recipe: Callable[..., Recipe], new_run: Callable[..., Run], watch: Any, shard: bool
) -> None:
    """In bfloat16, and with the kernels, where the CPU has them; batches of other shapes round."""
    sizes = {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 32}
    settings = {"model": sizes, "batch": {"sequences": 4, "recompute": True}}
    alone = new_run(recipe(run={"steps": 6}, **settings), "alone")
    both = new_run(recipe(run={"steps": 6, "shard": shard}, **settings), "both")
    watch().train(alone)
    train_in_two(both)
    assert losses(both) == pytest.approx(losses(alone), rel=2e-3)


def test_more_processes_than_sequences_are_refused() -> None:
    batch = Batch(torch.zeros(3, 9, dtype=torch.int64).numpy(), None, None)
    assert [len(part.ids) for part in Workers(1, 2).shard(batch, 1)] == [2]
    with pytest.raises(RecipeError, match="too few for 4 parts"):
        Workers(1, 2).shard(batch, 2)


def test_alone_nothing_is_sent() -> None:
    workers = Workers()
    values = torch.ones(2)
    workers.all_reduce(values)
    assert (values.tolist(), workers.broadcast(0.5), workers.broadcast_object("x")) == (
        [1.0, 1.0],
        0.5,
        "x",
    )
    assert workers.is_main


def test_the_cores_are_parted_among_the_workers_of_a_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also among those that train models of their own."""
    monkeypatch.setattr("ingot.training.distributed.data_parallel.usable_cores", lambda: 8)
    assert Workers().threads == 8
    for here, threads in (("2", 4), ("3", 2), ("16", 1)):
        monkeypatch.setenv("LOCAL_WORLD_SIZE", here)
        assert Workers().threads == Workers(1, 2).threads == threads
