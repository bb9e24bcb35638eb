"""Run folders: record, recipe, checkpoints and metrics, read as every verb reads them."""

from __future__ import annotations

import functools
import hashlib
import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from random import Random

import tomli_w
import torch

from ingot.model import Tokenizer
from ingot.training.config.recipe import make_recipe
from ingot.training.monitoring.events import Stepped
from ingot.training.monitoring.metrics import Metrics
from ingot.training.monitoring.runs import read_curves, summarise
from ingot.training.run_folder import checkpoint, checkpoint_tensors
from ingot.training.run_folder.run import (
    PretrainingRecord,
    create_run,
    edited_recipe,
    open_run,
)
from ingot.training.run_folder.run_state import RunState
from tests.fuzz.mutate import dump, mutate_bytes, mutate_json

_STEP = "checkpoints/step-00000001"
_JSON = ("run.json", f"{_STEP}/state.json")
_OTHER = ("recipe.toml", "metrics.jsonl", f"{_STEP}/model.safetensors")


def examples() -> Sequence[bytes]:
    return [_file(name, (_sound() / name).read_bytes()) for name in (*_JSON, *_OTHER)]


def make(random: Random) -> bytes:
    name = random.choice((*_JSON, *_OTHER))
    data = (_sound() / name).read_bytes()
    if name in _JSON and random.random() < 0.7:
        return _file(name, dump(mutate_json(random, json.loads(data))))
    if name == "metrics.jsonl" and random.random() < 0.7:
        lines = data.splitlines()
        at = random.randrange(len(lines))
        lines[at] = dump(mutate_json(random, json.loads(lines[at])))
        return _file(name, b"\n".join(lines) + b"\n")
    if name == "recipe.toml" and random.random() < 0.5:
        tables = open_run(_sound()).recipe.model_dump(mode="json", exclude_none=True)
        section = random.choice([key for key, values in tables.items() if values])
        key = random.choice(list(tables[section]))
        kept = tomli_w.dumps({name: values for name, values in tables.items() if name != section})
        hostile = random.choice(("[" * 5000, "1" + "0" * 30, "9" * 5000, "nan", "inf", "-1", "''"))
        return _file(name, f"{kept}\n[{section}]\n{key} = {hostile}\n".encode())
    return _file(name, mutate_bytes(random, data))


def attempt(data: bytes) -> None:
    name, _, content = data.partition(b"\n")
    run = Path("run")
    shutil.rmtree(run, ignore_errors=True)
    shutil.copytree(_sound(), run)
    (run / name.decode()).write_bytes(content)
    if name.endswith(b".safetensors"):  # sealed again, so that more than the digest is tried
        state = json.loads((run / _STEP / "state.json").read_bytes())
        state["sha256"][checkpoint.MODEL] = hashlib.sha256(content).hexdigest()
        (run / _STEP / "state.json").write_text(json.dumps(state))
    summarise(run)
    read_curves(run)
    opened = open_run(run)
    edited_recipe(opened)
    _ = opened.model_config.parameters
    checkpoint.best(run)
    folder = checkpoint.latest(run)
    checkpoint.read_state(folder)
    checkpoint_tensors.read_weights(folder)
    Metrics(run, from_step=1).__exit__()


@functools.cache
def _sound() -> Path:
    """Return a run with one checkpoint."""
    path = Path(tempfile.mkdtemp(prefix="ingot-fuzz-")) / "run"
    recipe = make_recipe({"run": {"steps": 3}, "model": {"hidden_size": 16}})
    record = PretrainingRecord(
        corpus="/none", corpus_digest="0" * 64, bytes_per_token=3.0, code_version="1"
    )
    create_run(path, recipe, Tokenizer.train(["def area(): pass\n"] * 4, 300), record)
    state = RunState(
        step=1,
        tokens=9,
        sampler={"position": 1},
        best_step=1,
        best_loss=2.0,
        recent_losses=[1.0, 2.0],
        recipe=recipe.model_dump(mode="json"),
    )
    checkpoint_tensors.save(path, state, {"w": torch.ones(3, 4)}, {"step.w": torch.ones(())})
    with Metrics(path, from_step=0) as metrics:
        for step in range(1, 4):
            metrics(Stepped(step, step / 3, 2.0, 1.0, 1.0, 0.5, 9, 9.0, 9.0, None, 1.0))
    return path


def _file(name: str, content: bytes) -> bytes:
    return name.encode() + b"\n" + content
