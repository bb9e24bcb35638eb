"""The verb ``ingot sweep``: runs of one recipe with different settings, on Ray."""

from __future__ import annotations

import dataclasses
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ingot.cli.options import Json, note, say
from ingot.errors import TrainingError, UsageError

app = typer.Typer()


@app.command(
    epilog="Example: **ingot sweep corpus/ --recipe recipe.toml --over optimizer.muon_lr=0.01,0.02 "
    "--over schedule.decay=0.3,0.6**; **ingot sweep my_texts/ --budget 5m "
    "--over model.num_hidden_layers=4,8 --cluster ray://head:10001 --threads 4**"
)
def sweep(
    texts: Annotated[
        list[Path],
        typer.Argument(help="As of ingot train; text is built into one corpus for all runs."),
    ],
    over: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE,VALUE",
            help="Values to try of one setting; of several, every combination is tried.",
        ),
    ] = None,
    recipe: Annotated[Path | None, typer.Option(help="A recipe file (TOML).")] = None,
    budget: Annotated[str | None, typer.Option(help="Wall time of each run.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override one setting in all runs."),
    ] = None,
    start: Annotated[Path | None, typer.Option("--from", help="Ingot to fine-tune.")] = None,
    task: Annotated[
        str | None, typer.Option(metavar="text|chat|preference", help="Objective of the training.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the runs; runs/sweep-DATE-TIME by default.")
    ] = None,
    cluster: Annotated[
        str, typer.Option(metavar="ray://HOST:PORT", help="The Ray cluster; local starts one here.")
    ] = "local",
    threads: Annotated[int, typer.Option(min=1, help="CPUs of each run.")] = 1,
    json: Json = False,
) -> None:
    """Train a run for each combination of settings, side by side through Ray Tune."""
    from ingot.cluster.grid import parse_over

    grid = parse_over(over or [])
    if find_spec("ray") is None:
        raise UsageError("needs Ray", where="ingot sweep", fix="pip install 'ingot[cluster]'")
    from ingot.api.sources import as_ingot
    from ingot.cli.runs_table import runs_table
    from ingot.cluster.connection import connected
    from ingot.cluster.job import new_job
    from ingot.cluster.sweep import sweep as run_sweep
    from ingot.training.monitoring.runs import find_runs, summarise

    folder = out or Path("runs") / time.strftime("sweep-%Y%m%d-%H%M%S")
    job = new_job(
        texts,
        folder,
        recipe=recipe,
        start=as_ingot(start, note) if start else None,
        budget=budget,
        settings=tuple(settings or ()),
        task=task,
    )
    with connected(cluster):
        note(f"{len(grid)} runs in {folder}; see them with: ingot runs {folder}")
        failed = run_sweep(job, grid, threads)
    for one in failed:
        note(f"{one.path}: {one.problem}")
    if len(failed) == len(grid):
        raise TrainingError("no run could be trained", where=folder, fix="see the lines above")
    rows = [summarise(path) for path in find_runs([folder])]
    if json:
        runs = [dataclasses.asdict(row) for row in rows]
        say(True, {"runs": runs, "failed": [dataclasses.asdict(one) for one in failed]}, "")
    else:
        console = Console()
        console.print(runs_table(rows, console.width))
