"""Runs side by side: what each is, how far it is and how well it does."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from ingot.errors import IngotError, UsageError
from ingot.training.monitoring.record import read_record, step_of
from ingot.training.run_folder import checkpoint
from ingot.training.run_folder.run import RECORD, open_run
from ingot.training.run_folder.run_state import RunState


@dataclass(frozen=True)
class RunSummary:
    """One run, in a line."""

    path: str
    task: str
    parameters: int
    status: str
    """finished, stopped, or not begun: no checkpoint yet."""
    steps: int
    tokens: int
    seconds: float
    training_loss: float | None
    validation_loss: float | None
    best_loss: float | None
    """Lowest held-out loss on the way."""
    bits_per_byte: float | None
    skipped: int
    """Updates left out."""
    parent: str | None
    """Digest of the ingot it went on from."""


@dataclass(frozen=True)
class Curves:
    """What a run's record holds, as columns."""

    name: str
    steps: list[int]
    losses: list[float]
    scored_steps: list[int]
    scored_losses: list[float]
    """On what was held out."""


def find_runs(folders: Sequence[Path]) -> list[Path]:
    """Return runs that are named, and those in folders that are named, by name.

    Raises:
        UsageError: a folder is missing, or none of them holds a run.
    """
    found: dict[Path, None] = {}
    for folder in folders:
        if not folder.is_dir():
            raise UsageError("is not a folder", where=folder, fix="name runs, or a folder of runs")
        inside = [folder] if (folder / RECORD).is_file() else sorted(folder.iterdir())
        found |= dict.fromkeys(each for each in inside if (each / RECORD).is_file())
    if not found:
        where = ", ".join(map(str, folders))
        raise UsageError("holds no run", where=where, fix="make one with: ingot train")
    return list(found)


def summarise(path: Path) -> RunSummary:
    """Read what a run says of itself; damage is its status, not an error."""
    try:
        run = open_run(path)
        folders = checkpoint.folders(path)
        state = checkpoint.read_state(folders[-1]) if folders else RunState()
    except IngotError as error:
        nothing = (None, None, None, None)
        return RunSummary(str(path), "", 0, f"damaged: {error.what}", 0, 0, 0.0, *nothing, 0, None)
    stopped = "stopped" if folders else "not begun"
    return RunSummary(
        path=str(path),
        task=run.recipe.task.kind,
        parameters=run.model_config.parameters,
        status="finished" if state.finished else stopped,
        steps=state.step,
        tokens=state.tokens,
        seconds=state.elapsed,
        training_loss=state.training_loss,
        validation_loss=state.validation_loss,
        best_loss=state.best_loss,
        bits_per_byte=state.bits_per_byte,
        skipped=state.skipped,
        parent=run.record.parent,
    )


def thinned(
    steps: Sequence[int], losses: Sequence[float], last: int, most: int
) -> tuple[tuple[int, float], ...] | None:
    """Return at most ``most`` points of a curve: means of steps in a row, with the latest of them.

    Args:
        steps: In order.
        losses: One for each step.
        last: Steps after this one are left out.
        most: Points.

    Returns:
        None where there are no steps.
    """
    count = sum(step <= last for step in steps)
    if not count:
        return None
    points = min(count, most)
    ends = [count * number // points for number in range(points + 1)]
    return tuple(
        (steps[end - 1], sum(losses[start:end]) / (end - start))
        for start, end in itertools.pairwise(ends)
    )


def read_curves(path: Path) -> Curves:
    """Read a run's losses; a run that has recorded nothing yet gives none.

    Raises:
        TrainingError: the record is not a regular file, or too large to be read.
    """
    curves = Curves(path.name, [], [], [], [])
    for line in read_record(path).splitlines():
        step = step_of(line)
        if step is None:
            break  # the last line of a run that was killed, or one being written
        event = orjson.loads(line)
        loss = event.get("loss")
        if not isinstance(loss, int | float):
            continue
        if event.get("event") == "stepped":
            curves.steps.append(step)
            curves.losses.append(loss)
        elif event.get("event") == "evaluated":
            curves.scored_steps.append(step)
            curves.scored_losses.append(loss)
    return curves
