"""The checkpoints of a run: one folder each, under ``RUN/checkpoints``.

``model.safetensors`` holds the weights, ``optimizer.safetensors`` the optimizer's state and
``state.json`` the counters, the sampler's position and the digests of the other two files. A folder
gets its final name only when all of it is on disk. This module lists, reads the counters of and
deletes them without PyTorch; ``checkpoint_tensors`` reads and writes the tensors.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ingot.errors import TrainingError, from_validation
from ingot.files import read_regular
from ingot.training.run_folder.run_state import RunState

MODEL, OPTIMIZER, STATE = "model.safetensors", "optimizer.safetensors", "state.json"
PREFIX = "step-"
REPLACED = ".replaced-"
_DRAFT, _DOOMED = ".draft-", ".doomed-"
_LARGEST_STATE = 4 << 20  # bytes
_NAME = re.compile(rf"{PREFIX}\d{{8,16}}", re.ASCII)


def folders(run: Path) -> list[Path]:
    """Return the run's complete checkpoints, earliest first."""
    found = (run / "checkpoints").glob(f"{PREFIX}*")
    return sorted((path for path in found if _NAME.fullmatch(path.name)), key=step_of)


def folder_of(run: Path, step: int) -> Path:
    """Return where the checkpoint after ``step`` updates lies."""
    return run / "checkpoints" / f"{PREFIX}{step:08d}"


def draft_of(run: Path, step: int) -> Path:
    """Return where that checkpoint is written before it is complete."""
    return run / "checkpoints" / f"{_DRAFT}{step:08d}"


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
    wanted = folder_of(run, step) if step is not None else last
    return wanted if wanted.exists() else last


def read_state(folder: Path) -> RunState:
    """Read a checkpoint's counters.

    Raises:
        TrainingError: they are missing or damaged.
    """
    path, fix = folder / STATE, use_earlier(folder)
    data = read_regular(path, TrainingError, max_bytes=_LARGEST_STATE, fix=fix)
    try:
        return RunState.model_validate_json(data)
    except ValidationError as error:
        raise from_validation(
            TrainingError, error, where=path, what="is damaged", fix=fix
        ) from error


def followed_recipe(run: Path) -> dict[str, Any] | None:
    """Return the recipe that the latest checkpoint was trained with; None if there is none.

    A damaged checkpoint counts as none: what needs it will say so.
    """
    found = folders(run)
    try:
        return read_state(found[-1]).recipe if found else None
    except TrainingError:
        return None


def prune(run: Path, *, keep: int, best_step: int | None) -> None:
    """Delete all but the latest ``keep`` checkpoints and the best one."""
    for folder in folders(run)[:-keep]:
        if step_of(folder) != best_step:
            remove(folder)


def sweep(run: Path) -> None:
    """Put right what a killed process left: delete half checkpoints, restore a replaced one."""
    inside = run / "checkpoints"
    for replaced in inside.glob(f"{REPLACED}*"):
        final = inside / replaced.name.removeprefix(REPLACED)
        if not final.exists() and _NAME.fullmatch(final.name):
            replaced.rename(final)
    for pattern in (_DRAFT, _DOOMED, REPLACED):
        for leftover in inside.glob(f"{pattern}*"):
            shutil.rmtree(leftover, ignore_errors=True)


def remove(folder: Path) -> None:
    """Delete one checkpoint."""
    # Renamed first: a crash half-way must not leave half a checkpoint under its final name.
    doomed = folder.with_name(f"{_DOOMED}{folder.name}")
    shutil.rmtree(doomed, ignore_errors=True)
    folder.rename(doomed)
    shutil.rmtree(doomed)


def publish(draft: Path, final: Path) -> None:
    """Give a complete checkpoint its final name, in the place of another one of the same step."""
    replaced = final.with_name(f"{REPLACED}{final.name}")
    if final.exists():
        # Kept until the new one is in its place: it may be the only one, and ``sweep`` restores it.
        shutil.rmtree(replaced, ignore_errors=True)
        final.rename(replaced)
    draft.rename(final)
    shutil.rmtree(replaced, ignore_errors=True)


def use_earlier(folder: Path) -> str:
    """Return the advice for a damaged checkpoint."""
    return f"delete {folder.name} to resume from the checkpoint before it"
