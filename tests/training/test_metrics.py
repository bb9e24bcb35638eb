from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from ingot.training.boards import TensorBoard
from ingot.training.events import Evaluated, Stepped
from ingot.training.metrics import FILE, Metrics


def stepped(step: int) -> Stepped:
    return Stepped(
        step=step,
        progress=step / 10,
        loss=5.0 - step / 10,
        bits_per_byte=2.0,
        learning_rate=1.0,
        gradient_norm=0.5,
        tokens=step * 64,
        tokens_per_second=1000.0,
        flops_per_second=1e9,
        share_of_peak=0.5,
        seconds_left=1.0,
    )


def steps(run: Path) -> list[int]:
    lines = (run / FILE).read_bytes().splitlines()
    return [orjson.loads(line)["step"] for line in lines]


def test_events_are_lines_of_json_and_tensorboard_scalars(tmp_path: Path) -> None:
    with Metrics(tmp_path, [TensorBoard(tmp_path, 0)], from_step=0) as metrics:
        metrics(stepped(1))
        metrics(Evaluated(step=1, loss=4.5, bits_per_byte=1.9, seconds=0.1, best=True))
    first, second = map(orjson.loads, (tmp_path / FILE).read_bytes().splitlines())
    assert (first["event"], first["loss"], first["tokens"]) == ("stepped", 4.9, 64)
    assert (second["event"], second["loss"], second["best"]) == ("evaluated", 4.5, True)
    board = EventAccumulator(str(tmp_path / "tensorboard"))
    board.Reload()
    assert board.Scalars("training/loss")[0].value == pytest.approx(4.9)
    assert board.Scalars("validation/loss")[0].step == 1


def test_a_resumed_run_has_one_line_for_each_step(tmp_path: Path) -> None:
    with Metrics(tmp_path, from_step=0) as metrics:
        for step in range(1, 6):
            metrics(stepped(step))
    with (tmp_path / FILE).open("ab") as file:
        file.write(b'{"event": "stepped", "st')  # cut short by a crash
    with Metrics(tmp_path, from_step=3) as metrics:
        metrics(stepped(4))
    assert steps(tmp_path) == [1, 2, 3, 4]
