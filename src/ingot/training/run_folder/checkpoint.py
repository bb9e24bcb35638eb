"""The checkpoints of a run: one folder each, under ``RUN/checkpoints``.

``model.safetensors`` holds the weights, ``optimizer.safetensors`` the optimizer's state and
``state.json`` the counters, the sampler's position and the digests of the other two files. A folder
gets its final name only when all of it is on disk. This module lists, reads the counters of and
deletes them without PyTorch; ``checkpoint_tensors`` reads and writes the tensors.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from pydantic import ValidationError

from ingot.errors import TrainingError, from_validation
from ingot.training.run_folder.run_state import RunState

MODEL, OPTIMIZER, STATE = "model.safetensors", "optimizer.safetensors", "state.json"
PREFIX = "step-"


def folders(run: Path) -> list[Path]:
    """Return the run's complete checkpoints, earliest first."""
    return sorted((run / "checkpoints").glob(f"{PREFIX}*"))


def step_of(folder: Path) -> int:
    """Return the number of updates before a checkpoint."""
    return int(folder.name.removeprefix(PREFIX))


def latest(run: Path) -> Path:
    """Return the latest checkpoint of a run.

    Raises:
        TrainingError: the run has none.
    """
    found = folders(run)
    if not found:
        raise TrainingError(
            "has no checkpoint", where=run, fix="train it first, or name another run"
        )
    return found[-1]


def best(run: Path) -> Path:
    """Return the checkpoint with the lowest validation loss, or the latest if none was scored.

    Raises:
        TrainingError: the run has no checkpoint.
    """
    last = latest(run)
    step = read_state(last).best_step
    wanted = last.with_name(f"{PREFIX}{step:08d}") if step is not None else last
    return wanted if wanted.exists() else last


def read_state(folder: Path) -> RunState:
    """Read a checkpoint's counters.

    Raises:
        TrainingError: they are missing or damaged.
    """
    path = folder / STATE
    try:
        return RunState.model_validate_json(path.read_bytes())
    except OSError as error:
        raise TrainingError(
            f"cannot be read ({error.strerror})", where=path, fix=use_earlier(folder)
        ) from error
    except ValidationError as error:
        raise from_validation(
            TrainingError, error, where=path, what="is damaged", fix=use_earlier(folder)
        ) from error


def prune(run: Path, *, keep: int, best_step: int | None) -> None:
    """Delete all but the latest ``keep`` checkpoints and the best one."""
    for folder in folders(run)[:-keep]:
        if folder.name != f"{PREFIX}{best_step or 0:08d}":
            remove(folder)


def sweep(run: Path) -> None:
    """Delete checkpoints that a killed process left half written or half deleted."""
    for pattern in (".draft-*", ".doomed-*"):
        for leftover in (run / "checkpoints").glob(pattern):
            shutil.rmtree(leftover, ignore_errors=True)


def remove(folder: Path) -> None:
    """Delete one checkpoint."""
    # Renamed first: a crash half-way must not leave half a checkpoint under its final name.
    doomed = folder.with_name(f".doomed-{folder.name}")
    shutil.rmtree(doomed, ignore_errors=True)
    folder.rename(doomed)
    shutil.rmtree(doomed)


def use_earlier(folder: Path) -> str:
    """Return the advice for a damaged checkpoint."""
    return f"delete {folder.name} to resume from the checkpoint before it"
