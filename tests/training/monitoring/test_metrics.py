from __future__ import annotations

import errno
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from ingot.errors import ResourceError, TrainingError
from ingot.training.monitoring.events import Evaluated, Sampled, Stepped
from ingot.training.monitoring.metrics import Metrics
from ingot.training.monitoring.runs import read_curves
from ingot.training.monitoring.trackers import TensorBoard
from ingot.training.run_folder.run import METRICS


def steps(run: Path) -> list[int]:
    lines = (run / METRICS).read_bytes().splitlines()
    return [orjson.loads(line)["step"] for line in lines]


def test_events_are_lines_of_json_and_tensorboard_scalars(
    stepped: Callable[[int], Stepped], tmp_path: Path
) -> None:
    with Metrics(tmp_path, [TensorBoard(tmp_path, 0)], from_step=0) as metrics:
        metrics(stepped(1))
        metrics(Evaluated(step=1, loss=4.5, bits_per_byte=1.9, seconds=0.1, best=True))
    first, second = map(orjson.loads, (tmp_path / METRICS).read_bytes().splitlines())
    assert (first["event"], first["loss"], first["tokens"]) == ("stepped", 4.9, 64)
    assert (second["event"], second["loss"], second["best"]) == ("evaluated", 4.5, True)
    tracker = EventAccumulator(str(tmp_path / "tensorboard"))
    tracker.Reload()
    assert tracker.Scalars("training/loss")[0].value == pytest.approx(4.9)
    assert tracker.Scalars("validation/loss")[0].step == 1


def test_a_resumed_run_has_one_line_for_each_step(
    stepped: Callable[[int], Stepped], tmp_path: Path
) -> None:
    with Metrics(tmp_path, from_step=0) as metrics:
        for step in range(1, 6):
            metrics(stepped(step))
    with (tmp_path / METRICS).open("ab") as file:
        file.write(b'{"event": "stepped", "st')  # cut short by a crash
    with Metrics(tmp_path, from_step=3) as metrics:
        metrics(stepped(4))
    assert steps(tmp_path) == [1, 2, 3, 4]


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """Let no file grow past ``size`` bytes inside the block, as if the disk were full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_full_for_the_record_is_told(
    stepped: Callable[[int], Stepped], tmp_path: Path
) -> None:
    def write() -> None:
        with Metrics(tmp_path, from_step=0) as metrics:
            for step in range(1, 100):
                metrics(stepped(step))

    with room_for(1000), pytest.raises(ResourceError, match="the disk is full"):
        write()
    with Metrics(tmp_path, from_step=99):  # cuts off the line that was begun
        assert steps(tmp_path) == [1, 2, 3]


class FullBoard:
    """A tracker on a full disk. TensorBoard's own does the same, and its thread dies loudly."""

    def close(self, *_: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    scalars = text = close


def test_a_disk_full_for_the_curves_is_told(
    stepped: Callable[[int], Stepped], tmp_path: Path
) -> None:
    metrics = Metrics(tmp_path, [FullBoard()], from_step=0)
    for act in (
        lambda: metrics(stepped(1)),
        lambda: metrics(Sampled(1, "a", "b")),
        metrics.__exit__,
    ):
        with pytest.raises(ResourceError, match="the disk is full"):
            act()


@pytest.mark.parametrize(
    "line", [b"[1]", b"{}", b"7", b'{"step": "1"}', b'{"step": null}', b"[" * 5000, b"9" * 5000]
)
def test_lines_of_another_shape_end_the_record(
    line: bytes, tmp_path: Path, stepped: Callable[[int], Stepped]
) -> None:
    """FAULTS B5: ``metrics.jsonl`` of another shape."""
    with Metrics(tmp_path, from_step=0) as metrics:
        metrics(stepped(1))
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(path.read_bytes() + line + b"\n")
    assert read_curves(tmp_path).steps == [1]
    with Metrics(tmp_path, from_step=1) as metrics:
        metrics(stepped(2))
    assert steps(tmp_path) == [1, 2]


def test_a_pipe_for_a_record_is_refused_at_once(tmp_path: Path) -> None:
    """FAULTS B4: opening a pipe would wait for a reader."""
    os.mkfifo(tmp_path / "metrics.jsonl")
    with pytest.raises(TrainingError, match="is not a regular file"):
        Metrics(tmp_path, from_step=0)
    with pytest.raises(TrainingError, match="is not a regular file"):
        read_curves(tmp_path)


def test_losses_that_are_not_numbers_are_left_out(tmp_path: Path) -> None:
    """FAULTS B5: ``metrics.jsonl`` of another shape."""
    lines = ['{"event": "stepped", "step": 1}', '{"event": "stepped", "step": 2, "loss": "x"}']
    lines += ['{"event": "stepped", "step": 3, "loss": 2.5}', '{"event": [], "step": 4, "loss": 1}']
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines))
    assert (read_curves(tmp_path).steps, read_curves(tmp_path).losses) == ([3], [2.5])
