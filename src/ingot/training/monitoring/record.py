"""Reading of a run's record, which a crash may have cut short and a stranger may have written."""

from __future__ import annotations

from pathlib import Path

import orjson

from ingot.errors import TrainingError
from ingot.files import read_regular
from ingot.training.run_folder.run import METRICS

_LARGEST = 1 << 30  # bytes; a line has a few hundred, so some million events


def read_record(run: Path) -> bytes:
    """Return the record of a run; empty if it has recorded nothing yet.

    Raises:
        TrainingError: it is not a regular file, or too large to be read.
    """
    path = run / METRICS
    if not path.exists():
        return b""
    return read_regular(path, TrainingError, max_bytes=_LARGEST, fix="move it away")


def step_of(line: bytes) -> int | None:
    """Return the update that a line of the record is about; None if it is not such a line."""
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    step = record.get("step") if isinstance(record, dict) else None
    return step if type(step) is int else None
