"""The run's record: one JSON line for each event, and TensorBoard files."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Self

import orjson
from torch.utils.tensorboard import SummaryWriter

from ingot.files import full_disk_named, write_atomic
from ingot.training.events import Evaluated, Event, Sampled, Skipped, Stepped

FILE = "metrics.jsonl"


class Metrics:
    """Writes events down as they come; an observer like any other."""

    def __init__(self, run: Path, *, from_step: int) -> None:
        """Open the record of ``run``; cut off what lies past ``from_step``: it will be redone."""
        self._path = run / FILE
        _cut(self._path, from_step)
        self._file = self._path.open("ab")
        self._board = SummaryWriter(str(run / "tensorboard"), purge_step=from_step + 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._board.close()

    def __call__(self, event: Event) -> None:
        """Write one event down."""
        record = {"event": type(event).__name__.lower(), "time": time.time()}
        with full_disk_named(self._path):
            self._file.write(orjson.dumps(record | dataclasses.asdict(event)) + b"\n")
            self._file.flush()
        if isinstance(event, Stepped):
            for name in ("loss", "bits_per_byte", "learning_rate", "gradient_norm"):
                if (value := getattr(event, name)) is not None:
                    self._scalar(f"training/{name}", value, event.step)
            self._scalar("speed/tokens_per_second", event.tokens_per_second, event.step)
            if event.share_of_peak is not None:
                self._scalar("speed/share_of_peak", event.share_of_peak, event.step)
        elif isinstance(event, Skipped):
            self._scalar("training/skipped", event.total, event.step)
        elif isinstance(event, Evaluated):
            self._scalar("validation/loss", event.loss, event.step)
            if event.bits_per_byte is not None:
                self._scalar("validation/bits_per_byte", event.bits_per_byte, event.step)
        elif isinstance(event, Sampled):
            self._board.add_text("sample", event.text, event.step)

    def _scalar(self, name: str, value: float, step: int) -> None:
        self._board.add_scalar(name, value, step)


def _cut(path: Path, from_step: int) -> None:
    """Drop records of steps past ``from_step``, and a last line that a crash cut short."""
    if not path.exists():
        return
    kept = []
    for line in path.read_bytes().splitlines(keepends=True):
        try:
            record = orjson.loads(line)
        except orjson.JSONDecodeError:
            break
        if line.endswith(b"\n") and record["step"] <= from_step:
            kept.append(line)
    write_atomic(path, b"".join(kept))
