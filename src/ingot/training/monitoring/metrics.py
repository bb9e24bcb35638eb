"""The run's record: one JSON line for each event, and the trackers that draw its curves."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import orjson

from ingot.files import full_disk_named, write_atomic
from ingot.training.monitoring.events import Evaluated, Event, Sampled, Skipped, Stepped
from ingot.training.monitoring.record import read_record, step_of
from ingot.training.monitoring.trackers import Tracker
from ingot.training.run_folder.run import METRICS


class Metrics:
    """Writes events down as they come; an observer like any other.

    Args:
        run: The run's folder.
        trackers: What draws curves; closed with this.
        from_step: What the record holds past it is cut off: it will be redone.
    """

    def __init__(self, run: Path, trackers: Sequence[Tracker] = (), *, from_step: int) -> None:
        self._path, self._trackers = run / METRICS, trackers
        _cut(self._path, from_step)
        self._file = self._path.open("ab")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):  # told where it was written
            self._file.close()
        with full_disk_named(self._path.parent):
            for tracker in self._trackers:
                tracker.close()

    def __call__(self, event: Event) -> None:
        """Write one event down."""
        record = {"event": type(event).__name__.lower(), "time": time.time()}
        with full_disk_named(self._path):
            self._file.write(orjson.dumps(record | dataclasses.asdict(event)) + b"\n")
            self._file.flush()
        values = {name: value for name, value in _curves(event).items() if value is not None}
        with full_disk_named(self._path.parent):
            for tracker in self._trackers:
                if values:
                    tracker.scalars(values, event.step)
                if isinstance(event, Sampled):
                    tracker.text("sample", event.text, event.step)


def _curves(event: Event) -> dict[str, float | None]:
    """Return the values that an event adds to curves."""
    match event:
        case Stepped():
            return {
                "training/loss": event.loss,
                "training/bits_per_byte": event.bits_per_byte,
                "training/learning_rate": event.learning_rate,
                "training/gradient_norm": event.gradient_norm,
                "speed/tokens_per_second": event.tokens_per_second,
                "speed/share_of_peak": event.share_of_peak,
            }
        case Skipped():
            return {"training/skipped": event.total}
        case Evaluated():
            return {
                "validation/loss": event.loss,
                "validation/bits_per_byte": event.bits_per_byte,
            }
        case _:
            return {}


def _cut(path: Path, from_step: int) -> None:
    """Drop records of steps past ``from_step``, and a last line that a crash cut short."""
    if not path.exists():
        return
    kept = []
    for line in read_record(path.parent).splitlines(keepends=True):
        step = step_of(line)
        if not line.endswith(b"\n") or step is None:
            break
        if step <= from_step:
            kept.append(line)
    write_atomic(path, b"".join(kept))
