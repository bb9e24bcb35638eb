"""Table of runs for the terminal."""

from __future__ import annotations

import os
from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from ingot.training.monitoring.runs import RunSummary

_WIDE = 100  # columns of a terminal that hold the whole table


def runs_table(rows: Sequence[RunSummary], width: int) -> Table:
    """Return a table with one run per row; the best run of each task is marked.

    Args:
        rows: The runs.
        width: Columns of the terminal; below 100 the table leaves out tokens and training loss.
    """
    wide = width >= _WIDE
    parent = _common_parent([row.path for row in rows])
    table = Table(
        box=None,
        padding=(0, 2 if wide else 1, 0, 0),
        header_style="dim",
        title=Text(f"in {parent}", style="dim") if parent else None,
        title_justify="left",
    )
    table.add_column("run", overflow="fold")
    table.add_column("task", no_wrap=True)
    table.add_column("status")
    numbers = ["size", "updates", "tokens", "time", "training", "held out", "bits/byte"]
    shown = [name for name in numbers if wide or name not in {"tokens", "training"}]
    for name in shown:
        table.add_column(name, justify="right", no_wrap=True)
    best = {task: _best([row for row in rows if row.task == task]) for task in _tasks(rows)}
    for row in rows:
        cells = {
            "size": f"{row.parameters / 1e6:.2f}M",
            "updates": f"{row.steps:,}",
            "tokens": f"{row.tokens:,}",
            "time": _clock(row.seconds),
            "training": _number(row.training_loss),
            "held out": _number(row.validation_loss),
            "bits/byte": _number(row.bits_per_byte),
        }
        style = "bold green" if row is best[row.task] else ""
        table.add_row(
            Text(os.path.relpath(row.path, parent) if parent else row.path, style=style),
            row.task,
            Text(row.status + (f", {row.skipped} skipped" if row.skipped else "")),
            *(cells[name] for name in shown),
        )
    return table


def _tasks(rows: Sequence[RunSummary]) -> set[str]:
    return {row.task for row in rows}


def _best(rows: Sequence[RunSummary]) -> RunSummary | None:
    """Return the best run of a task: by bits per byte where all scored runs have them.

    Losses are per token and cannot be compared between tokenizers; bits per byte can.
    """
    scored = [row for row in rows if row.validation_loss is not None]
    if all(row.bits_per_byte is not None for row in scored):
        return min(scored, key=lambda row: row.bits_per_byte or 0.0, default=None)
    return min(scored, key=lambda row: row.validation_loss or 0.0, default=None)


def _common_parent(paths: Sequence[str]) -> str:
    """Return the folder that all runs lie in, for a title; empty for one run or no such folder."""
    parents = {os.path.dirname(path) for path in paths}  # noqa: PTH120 (paths as they were given)
    return parents.pop() if len(parents) == 1 and len(paths) > 1 else ""


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
