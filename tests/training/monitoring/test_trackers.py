from __future__ import annotations

import struct
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from wandb.proto import wandb_internal_pb2

from ingot.errors import ResourceError, UsageError
from ingot.training.config.recipe import Recipe
from ingot.training.config.wandb import WandbConfig
from ingot.training.monitoring.trackers import open_trackers
from ingot.training.run_folder.run import Run

BLOCK, FULL, LAST = 1 << 15, 1, 4


def records(path: Path) -> Iterator[bytes]:
    """Return the records of a W&B file: LevelDB's log format, behind a head of 7 bytes."""
    data, at, parts = path.read_bytes(), 7, b""
    while at + 7 <= len(data):
        left = BLOCK - at % BLOCK
        if left < 7:  # no room for a head: filled up
            at += left
            continue
        length, kind = struct.unpack_from("<HB", data, at + 4)
        parts += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (FULL, LAST):
            yield parts
            parts = b""


def logged(run: Path) -> list[dict[str, Any]]:
    """Return what an offline run of Weights & Biases recorded."""
    (path,) = (run / "wandb").glob("offline-run-*/run-*.wandb")
    found = []
    for data in records(path):
        record = wandb_internal_pb2.Record.FromString(data)
        if record.WhichOneof("record_type") == "history":
            items = record.history.item
            found.append({i.key or i.nested_key[0]: orjson.loads(i.value_json) for i in items})
    return found


def test_a_run_is_recorded_for_weights_and_biases(
    recipe: Callable[..., Recipe], new_run: Callable[..., Run], watch: Any
) -> None:
    run = new_run(recipe(run={"steps": 3}, wandb={"mode": "offline"}), "told")
    watch().train(run)
    deadline, history = time.monotonic() + 300, logged(run.path)
    while not history and time.monotonic() < deadline:  # its own process writes the file
        time.sleep(0.1)
        history = logged(run.path)
    losses = {each["update"]: each["training/loss"] for each in history if "training/loss" in each}
    lines = map(orjson.loads, (run.path / "metrics.jsonl").read_bytes().splitlines())
    own = {each["step"]: each["loss"] for each in lines if each["event"] == "stepped"}
    assert losses == pytest.approx(own)
    assert sorted(losses) == [1, 2, 3]
    assert any("validation/loss" in each for each in history)


def test_without_a_key_it_is_said_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(ResourceError, match=r"wandb\.mode=offline"):
        open_trackers(tmp_path, WandbConfig(mode="online"), {}, from_step=0)


def test_without_the_package_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UsageError, match=r"pip install 'ingot\[wandb\]'"):
        open_trackers(tmp_path, WandbConfig(mode="offline"), {}, from_step=0)
