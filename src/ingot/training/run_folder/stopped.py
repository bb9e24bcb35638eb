"""What is kept of a run that was stopped."""

from __future__ import annotations

from pathlib import Path

from ingot.corpus import stopped_build
from ingot.errors import Interrupted, TrainingError
from ingot.training.run_folder import checkpoint
from ingot.training.run_folder.run import RECORD


def stopped_run(path: Path) -> Interrupted:
    """Return the error for a run that was stopped: what its folder holds, and how to resume."""
    # The default folder of a run is a new one each time.
    again = f"run the same command again with --out {path}"
    if not (path / RECORD).exists():
        if (path / "corpus" / "corpus.json").exists():
            return Interrupted("stopped; the corpus is kept", where=path, fix=again)
        if (path / ".corpus.building").exists():
            return Interrupted(stopped_build(path / "corpus").what, where=path, fix=again)
        return Interrupted("stopped before anything was kept", where=path, fix=again)
    resume = f"continue with: ingot resume {path}"
    found = checkpoint.folders(path)
    if not found:
        return Interrupted("stopped before the first checkpoint", where=path, fix=resume)
    step = checkpoint.step_of(found[-1])
    try:
        if checkpoint.read_state(found[-1]).finished:
            return Interrupted(
                f"stopped; the run is finished, and its checkpoint of update {step} is kept",
                where=path,
                fix=f"seal it with: ingot freeze {path} --out my.ingot",
            )
    except TrainingError:
        pass  # resuming will say so
    return Interrupted(f"stopped; the last checkpoint is of update {step}", where=path, fix=resume)
