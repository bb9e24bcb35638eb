"""Table of runs for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from ingot.training.monitoring.runs import RunSummary


def runs_table(rows: Sequence[RunSummary]) -> Table:
    """Return a table with one run per row; the lowest held-out loss of each task is marked."""
    table = Table(box=None, padding=(0, 2), header_style="dim")
    table.add_column("run", overflow="fold")
    for heading in ("task", "status"):
        table.add_column(heading)
    for heading in ("parameters", "updates", "tokens", "time", "training", "held out", "bits/byte"):
        table.add_column(heading, justify="right")
    best = {
        task: min(
            (row.validation_loss for row in rows if row.task == task and row.validation_loss),
            default=None,
        )
        for task in {row.task for row in rows}
    }
    for row in rows:
        leads = row.validation_loss is not None and row.validation_loss == best[row.task]
        table.add_row(
            Text(row.path),
            row.task,
            Text(row.status + (f", {row.skipped} skipped" if row.skipped else "")),
            f"{row.parameters / 1e6:.2f}M",
            f"{row.steps:,}",
            f"{row.tokens:,}",
            _clock(row.seconds),
            _number(row.training_loss),
            Text(_number(row.validation_loss), style="bold green" if leads else ""),
            _number(row.bits_per_byte),
        )
    return table


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
