"""Runs as a picture: losses over updates, as PNG and as a page that needs nothing else."""

from __future__ import annotations

import html
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from ingot.files import write_atomic
from ingot.training.monitoring.runs import Curves, RunSummary

_SMOOTHING = 0.02  # of the updates on either side are averaged
_STYLE = """body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:64rem;padding:0 1rem}
table{border-collapse:collapse}td,th{padding:.2rem .8rem;text-align:right}td:first-child,
th:first-child{text-align:left}tr:nth-child(even){background:#8881}svg{max-width:100%;height:auto}"""


def write_plot(curves: Sequence[Curves], rows: Sequence[RunSummary], out: Path) -> list[Path]:
    """Write ``out`` as PNG and as HTML with the table, whatever suffix it has.

    Raises:
        ResourceError: the disk is full.
    """
    figure = _draw(curves)
    picture, page = out.with_suffix(".png"), out.with_suffix(".html")
    png, svg = io.BytesIO(), io.StringIO()
    figure.savefig(png, format="png", dpi=144)
    figure.savefig(svg, format="svg")
    drawing = svg.getvalue()
    write_atomic(picture, png.getvalue())
    write_atomic(page, _page(drawing[drawing.index("<svg") :], rows).encode())
    return [picture, page]


def _draw(curves: Sequence[Curves]) -> Figure:
    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.add_subplot()
    for number, run in enumerate(curves):
        colour = f"C{number % 10}"
        if run.steps:
            axes.plot(run.steps, _smooth(run.losses), color=colour, lw=1.2, label=run.name)
        if run.scored_steps:
            label = None if run.steps else run.name
            axes.plot(run.scored_steps, run.scored_losses, "o--", color=colour, ms=4, label=label)
    axes.set_xlabel("updates")
    axes.set_ylabel("loss, nats (line: training, dots: held out)")
    axes.grid(alpha=0.3)
    if axes.get_legend_handles_labels()[0]:
        axes.legend()
    return figure


def _smooth(losses: Sequence[float]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return running means over a share of the updates, at the ends over what there is."""
    values = np.asarray(losses, np.float64)
    reach = int(len(values) * _SMOOTHING)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    positions = np.arange(len(values))
    low, high = np.maximum(positions - reach, 0), np.minimum(positions + reach + 1, len(values))
    return np.asarray((sums[high] - sums[low]) / (high - low))


def _page(drawing: str, rows: Sequence[RunSummary]) -> str:
    heads = ("run", "status", "parameters", "updates", "tokens", "seconds", "held-out loss")
    cells = [
        (
            row.path,
            row.status,
            f"{row.parameters:,}",
            f"{row.steps:,}",
            f"{row.tokens:,}",
            f"{row.seconds:,.0f}",
            "" if row.validation_loss is None else f"{row.validation_loss:.4f}",
        )
        for row in rows
    ]
    table = "".join(
        "<tr>" + "".join(f"<{kind}>{html.escape(cell)}</{kind}>" for cell in line) + "</tr>"
        for kind, lines in (("th", [heads]), ("td", cells))
        for line in lines
    )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Runs</title>'
        f"<style>{_STYLE}</style><h1>Runs</h1>{drawing}<table>{table}</table></html>"
    )
