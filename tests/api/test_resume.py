"""Resuming: what is refused changes nothing, what is accepted is trained, one process at a time."""

from __future__ import annotations

import dataclasses
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import ingot
from ingot.api import training
from ingot.errors import CorpusError, IngotError, RecipeError, TrainingError
from ingot.training.monitoring.events import Stepped
from ingot.training.monitoring.run_reporter import TrainingResult
from ingot.training.run_folder import checkpoint
from ingot.training.run_folder.run import edited_recipe, open_run

SMALL = {
    "corpus.vocab_size": 300,
    "model.hidden_size": 16,
    "model.intermediate_size": 16,
    "model.num_hidden_layers": 1,
    "model.num_attention_heads": 1,
    "model.num_key_value_heads": 1,
    "model.head_dim": 16,
    "batch.context": 32,
    "run.measure_peak": False,
    "run.warm_start": False,
    "run.evaluations": 1,
    "run.samples": 0,
}
Tree = dict[str, bytes]


@pytest.fixture(scope="module")
def finished(texts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of four updates, finished."""
    out = tmp_path_factory.mktemp("finished") / "run"
    ingot.train(texts / "00.py", out=out, settings=SMALL | {"run.steps": 4})
    return out


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy of it to change."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


def tree(folder: Path) -> Tree:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def losses(run: Path) -> list[tuple[int, float]]:
    events = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [(event["step"], event["loss"]) for event in events if event["event"] == "stepped"]


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"run.seed": 3}, CorpusError),
        ({"run.seed": 3, "run.steps": 6}, CorpusError),
        ({"model.hidden_size": 32, "run.steps": 6}, TrainingError),
        ({"lora.rank": 2, "run.steps": 6}, RecipeError),
        ({"task.kind": "chat", "task.start": "none.ingot", "run.steps": 6}, IngotError),
        ({"optimizer.method": "adamw", "run.steps": 6}, TrainingError),
        ({"run.steps": 3}, RecipeError),
        ({"schedule.floor": 0.5}, RecipeError),
        ({"run.steps": None}, RecipeError),
        ({"run.steps": None, "run.epochs": 1e-6}, RecipeError),
        ({"run.steps": None, "run.budget_seconds": 1e-6}, RecipeError),
    ],
)
def test_a_change_that_is_refused_changes_nothing(
    run: Path, change: dict[str, object], error: type[IngotError]
) -> None:
    """FAULTS D1: a sound run stays sound, and ``resume`` works as before."""
    before = tree(run)
    with pytest.raises(error):
        ingot.resume(run, settings=change, accept_changes=True)
    assert tree(run) == before
    assert ingot.resume(run).result.steps == 4
    assert tree(run) == before


@pytest.mark.parametrize(
    "change",
    [
        {"run.steps": 6},
        {"run.steps": None, "run.epochs": 50},
        {"run.steps": None, "run.budget_seconds": 5},
    ],
)
def test_a_finished_run_that_is_made_longer_is_trained_on(
    run: Path, change: dict[str, object]
) -> None:
    """FAULTS D2: more steps, epochs or budget are trained, and only then recorded."""
    before = losses(run)
    digest = _sealed(run)
    done = ingot.resume(run, settings=change, accept_changes=True)
    assert done.result.steps > 4
    assert losses(run)[:4] == before
    assert len(losses(run)) == done.result.steps
    assert edited_recipe(open_run(run)) == open_run(run).recipe == done.recipe
    state = checkpoint.read_state(checkpoint.latest(run))
    assert state.finished
    assert state.recipe == done.recipe.model_dump(mode="json")
    if change.get("run.steps"):
        assert done.result.steps == change["run.steps"]
    assert ingot.resume(run).result == _without_speed(done.result)
    if checkpoint.read_state(checkpoint.best(run)).step == 4:
        assert _sealed(run) == digest  # of the same weights, whatever was trained after them


def test_an_edited_recipe_that_was_not_trained_is_not_sealed(run: Path) -> None:
    """FAULTS D2: what is sealed is named after the recipe that its weights were trained with."""
    digest = _sealed(run)
    path = run / "recipe.toml"
    path.write_text(path.read_text().replace("steps = 4", "steps = 6"))
    assert _sealed(run) == digest


def test_a_stopped_run_may_end_earlier_but_not_before_what_was_made(
    texts: Path, tmp_path: Path
) -> None:
    callbacks = training.Callbacks(
        on_event=lambda event: (
            callbacks.interrupted.set() if isinstance(event, Stepped) and event.step == 3 else None
        )
    )
    out = tmp_path / "run"
    with pytest.raises(IngotError, match="stopped after 3 updates"):
        ingot.train(
            texts / "00.py", out=out, settings=SMALL | {"run.steps": 9}, callbacks=callbacks
        )
    before = tree(out)
    with pytest.raises(RecipeError, match=r"run\.steps: is 2, and 3 were trained already"):
        ingot.resume(out, settings={"run.steps": 2}, accept_changes=True)
    assert tree(out) == before
    assert ingot.resume(out, settings={"run.steps": 5}, accept_changes=True).result.steps == 5


RESUME = """
import sys
import ingot
from ingot.training.monitoring.events import Stepped
from ingot.training.monitoring.run_reporter import TrainingResult
def on_event(event):
    if isinstance(event, Stepped):
        print("stepped", flush=True)
        sys.stdin.readline()
callbacks = ingot.Callbacks(on_event=on_event)
ingot.resume(sys.argv[1], settings={"run.steps": 100000}, accept_changes=True, callbacks=callbacks)
"""


def test_a_second_process_is_refused_and_a_killed_one_blocks_nobody(run: Path) -> None:
    """FAULTS D3, and D1: what was begun and killed before a checkpoint was never recorded."""
    before = tree(run)
    process = subprocess.Popen(
        [sys.executable, "-c", RESUME, str(run)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout
        assert process.stdout.readline() == "stepped\n"
        with pytest.raises(TrainingError, match=f"is being trained by process {process.pid} on "):
            ingot.resume(run, settings={"run.steps": 6}, accept_changes=True)
        with pytest.raises(TrainingError, match=f"is being trained by process {process.pid} on "):
            ingot.train(run / "corpus", out=run, settings=SMALL | {"run.steps": 4})
        assert open_run(run).recipe.run.steps == 4
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    after = tree(run)
    assert {name for name in after if after[name] != before.get(name)} <= {
        ".lock",
        "metrics.jsonl",
        *(name for name in after if name.startswith("tensorboard/")),
    }
    assert ingot.resume(run).result.steps == 4
    assert ingot.resume(run, settings={"run.steps": 6}, accept_changes=True).result.steps == 6
    assert [step for step, _ in losses(run)] == [1, 2, 3, 4, 5, 6]


def test_two_new_runs_in_one_folder_at_once(texts: Path, tmp_path: Path) -> None:
    """FAULTS D3: the folder is held from before its corpus is built."""
    out = tmp_path / "run"
    command = [sys.executable, "-m", "ingot", "train", str(texts), "--out", str(out)]
    settings = [
        part for key, value in SMALL.items() for part in ("--set", f"{key}={json.dumps(value)}")
    ]
    process = subprocess.Popen(
        [*command, *settings, "--set", "run.steps=100000"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 120
        while not (out / ".lock").exists():
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.01)
        with pytest.raises(TrainingError, match="is being trained by"):
            ingot.train(texts, out=out, settings=SMALL | {"run.steps": 1})
    finally:
        process.kill()
        process.wait()


def test_a_folder_that_is_not_a_run_is_left_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="is not a run"):
        ingot.resume(tmp_path / "none")
    assert list(tmp_path.iterdir()) == []


def _sealed(run: Path) -> str:
    out = run.parent / "sealed.ingot"
    with ingot.freeze(run, out, overwrite=True) as sealed:
        return sealed.digest


def _without_speed(result: TrainingResult) -> TrainingResult:
    return dataclasses.replace(result, tokens_per_second=0.0, share_of_peak=None)
