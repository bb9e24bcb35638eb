from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch

from ingot.errors import ResourceError
from ingot.training.run_folder import checkpoint, checkpoint_tensors
from ingot.training.run_folder.async_checkpoint import Saver
from ingot.training.run_folder.run_state import RunState


def weights(value: float) -> dict[str, torch.Tensor]:
    return {"w": torch.full((256, 256), value)}


def test_what_is_written_is_what_was_there_when_it_was_asked_for(tmp_path: Path) -> None:
    saver = Saver(tmp_path, keep=2)
    tensors = weights(1.0)
    assert saver.save(RunState(step=1), tensors, tensors) is None
    tensors["w"].fill_(2.0)  # training continues meanwhile
    folder = saver.wait()
    assert folder == checkpoint.latest(tmp_path)
    assert checkpoint.step_of(folder) == 1
    assert checkpoint_tensors.read_weights(folder)["w"].eq(1.0).all()
    assert checkpoint_tensors.read_optimizer(folder)["w"].eq(1.0).all()
    assert saver.wait() is None


def test_writing_takes_its_time_unless_a_caller_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingot.training.run_folder.async_checkpoint._SPREAD_S", 1000.0)
    saver = Saver(tmp_path, keep=1)
    saver.save(RunState(step=1), weights(1.0) | {"v": torch.zeros(3)}, {})
    assert saver.written() is None
    assert checkpoint.folders(tmp_path) == []
    assert saver.wait() == checkpoint.latest(tmp_path)
    saver.save(RunState(step=2), weights(2.0), weights(3.0))
    saver.hurry()
    assert checkpoint.step_of(until_written(saver)) == 2
    often = Saver(tmp_path, keep=1, every_s=0.04)
    often.save(RunState(step=3), weights(2.0), weights(3.0))
    assert checkpoint.step_of(until_written(often)) == 3


def until_written(saver: Saver) -> Path:
    """Wait without waiting for the saver, which would hurry it."""
    deadline = time.monotonic() + 300
    while (folder := saver.written()) is None:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return folder


def test_old_ones_go_and_the_best_stays(tmp_path: Path) -> None:
    saver = Saver(tmp_path, keep=2)
    for step in range(1, 6):
        saver.save(RunState(step=step, best_step=2), weights(step), {})
    saver.wait()
    assert [checkpoint.step_of(folder) for folder in checkpoint.folders(tmp_path)] == [2, 4, 5]


def test_a_full_disk_is_said_and_the_one_before_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saver = Saver(tmp_path, keep=2)
    saver.save(RunState(step=1), weights(1.0), {})
    saver.wait()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ingot.training.run_folder.checkpoint_tensors.sync_folder", full)
    saver.save(RunState(step=2), weights(2.0), {})
    with pytest.raises(ResourceError, match="full"):
        saver.save(RunState(step=3), weights(3.0), {})
    assert saver.wait() is None
    assert (
        checkpoint_tensors.read_weights(tmp_path / "checkpoints" / "step-00000001")["w"]
        .eq(1.0)
        .all()
    )
