"""Runs of one recipe with different settings, side by side on a Ray cluster, by Ray Tune."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import ray
from ray import tune

from ingot.api.training import build_corpus
from ingot.cluster.driver import drive
from ingot.cluster.grid import Grid
from ingot.cluster.job import RESTARTS, TrainingJob
from ingot.cluster.outcome import Told, error_told, told_error
from ingot.cluster.stopping import hearing_stop
from ingot.errors import IngotError, Interrupted, ResourceError
from ingot.process import usable_cores
from ingot.settings import merge_tables
from ingot.training.config.recipe import make_draft, parse_overrides, read_recipe


@dataclass(frozen=True)
class Failed:
    """A run that could not be trained."""

    path: str
    problem: str


def sweep(job: TrainingJob, grid: Grid, threads: int = 1) -> list[Failed]:
    """Train one run for each combination, as many at once as the cluster has CPUs for.

    Args:
        job: What ``ingot train`` would do; its ``out`` is the folder of all runs.
        grid: The settings that differ.
        threads: CPUs of each run.

    Returns:
        The runs that could not be trained; the others are in the folder.

    Raises:
        IngotError: a combination is refused, or the texts are; nothing was trained.
        Interrupted: SIGINT or SIGTERM; runs that had begun have a checkpoint.
        ResourceError: no machine has so many CPUs.
    """
    _require_recipes(job, grid)
    _require_cpus(threads)
    folder = Path(job.out)
    folder.mkdir(parents=True, exist_ok=True)
    job = _with_corpus(job, grid, folder)
    jobs = [
        asdict(
            replace(
                job,
                name=f"{job.name}-{trial.name}",
                out=str(folder / trial.name),
                settings=(*job.settings, *trial.settings),
            )
        )
        for trial in grid
    ]
    told = drive(_tune, (jobs, str(folder), threads), folder, lambda: _stopped(folder))
    failed = []
    for one in told["runs"]:
        error = error_told(one["told"])
        if isinstance(error, Interrupted):
            raise _stopped(folder)
        if error is not None:
            failed.append(Failed(one["out"], str(error)))
    return failed


def _require_recipes(job: TrainingJob, grid: Grid) -> None:
    """Refuse what no run could be trained with, before any begins.

    Raises:
        RecipeError: a combination is not a recipe.
    """
    base = read_recipe(Path(job.recipe)) if job.recipe else {}
    for trial in grid:
        given = merge_tables(base, parse_overrides((*job.settings, *trial.settings)))
        make_draft(given, where=", ".join(trial.settings))


def _require_cpus(threads: int) -> None:
    """Refuse runs that would wait for ever.

    Raises:
        ResourceError: no machine of the cluster has so many CPUs.
    """
    most = max(int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"])
    if threads > most:
        raise ResourceError(
            f"asks for {threads} CPUs, and no machine of the cluster has more than {most}",
            where="--threads",
            fix=f"ask for at most {most}",
        )


def _with_corpus(job: TrainingJob, grid: Grid, folder: Path) -> TrainingJob:
    """Return a job whose texts are one corpus, built once, where all runs can share it."""
    given = merge_tables(
        read_recipe(Path(job.recipe)) if job.recipe else {}, parse_overrides(job.settings)
    )
    recipe = make_draft(given)
    built = len(job.texts) == 1 and (Path(job.texts[0]) / "corpus.json").is_file()
    own = any(key.startswith(("corpus.", "task.")) for key in grid.values)
    if built or own or recipe.task.kind != "text" or job.start or job.task not in (None, "text"):
        return job
    corpus = build_corpus(job.texts, folder / "corpus", config=recipe.corpus)
    return replace(job, texts=(str(corpus.path.resolve()),))


def _stopped(folder: Path) -> Interrupted:
    return Interrupted(
        "stopped; runs that had begun are kept",
        where=folder,
        fix=f"see them with: ingot runs {folder}",
    )


def _tune(jobs: Sequence[dict[str, Any]], folder: str, threads: int) -> Told:
    """Have Ray Tune carry out the jobs, and wait for their end; runs on the cluster."""
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    os.environ["TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S"] = "0"
    kept = tempfile.mkdtemp(prefix="ingot-ray-")  # Ray's own record; ours is in the runs' folders
    try:
        tuner = tune.Tuner(
            tune.with_resources(_trial, {"cpu": threads}),
            param_space={"job": tune.grid_search(list(jobs)), "sweep": folder, "threads": threads},
            tune_config=tune.TuneConfig(reuse_actors=False),
            run_config=tune.RunConfig(
                name="sweep",
                storage_path=kept,
                verbose=0,
                failure_config=tune.FailureConfig(max_failures=RESTARTS),
            ),
        )
        results = tuner.fit()
    finally:
        shutil.rmtree(kept, ignore_errors=True)
    runs = []
    for result in results:
        told = (result.metrics or {}).get("told")
        if result.error is not None or told is None:
            last = str(result.error or "it told nothing").strip().splitlines()[-1]
            told = {
                "error": f"was lost after {RESTARTS} restarts ({last})",
                "kind": "TrainingError",
            }
        runs.append({"out": (result.config or {})["job"]["out"], "told": told})
    return {"runs": runs}


def _trial(given: dict[str, Any]) -> None:
    """Train one run; runs in a worker of the cluster."""
    job = TrainingJob(**given["job"])
    # As beside other workers of this machine: each takes its part of the cores.
    os.environ["LOCAL_WORLD_SIZE"] = str(max(1, usable_cores() // given["threads"]))
    try:
        with hearing_stop(Path(given["sweep"])) as callbacks:
            told = job.work(callbacks)
    except IngotError as error:
        told = told_error(error)
    tune.report({"told": told})
