"""Loss curves of runs, as a PNG and as a self-contained HTML page."""

from __future__ import annotations

import html
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from ingot.files import write_atomic
from ingot.training.monitoring.runs import Curves, RunSummary

_SMOOTHING = 0.02  # share of the updates that is averaged on either side
_STYLE = """body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:64rem;padding:0 1rem}
table{border-collapse:collapse}td,th{padding:.2rem .8rem;text-align:right}td:first-child,
th:first-child{text-align:left}tr:nth-child(even){background:#8881}svg{max-width:100%;height:auto}"""


def write_plot(curves: Sequence[Curves], rows: Sequence[RunSummary], out: Path) -> list[Path]:
    """Write the curves as PNG, and as HTML with the table of runs.

    Args:
        curves: The curves of each run.
        rows: The table's rows.
        out: Path of both files; their suffixes replace its own.

    Returns:
        The paths of the PNG and of the HTML page.

    Raises:
        ResourceError: the disk is full.
    """
    figure = _draw(curves)
    png_path, html_path = out.with_suffix(".png"), out.with_suffix(".html")
    png, svg = io.BytesIO(), io.StringIO()
    figure.savefig(png, format="png", dpi=144)
    figure.savefig(svg, format="svg")
    # Without the XML header, which HTML does not allow in a document's body.
    svg_element = svg.getvalue()[svg.getvalue().index("<svg") :]
    write_atomic(png_path, png.getvalue())
    write_atomic(html_path, _html(svg_element, rows).encode())
    return [png_path, html_path]


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
    """Return moving averages; near the ends the window holds fewer values."""
    values = np.asarray(losses, np.float64)
    half_width = int(len(values) * _SMOOTHING)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    positions = np.arange(len(values))
    low = np.maximum(positions - half_width, 0)
    high = np.minimum(positions + half_width + 1, len(values))
    return np.asarray((sums[high] - sums[low]) / (high - low))


def _html(svg: str, rows: Sequence[RunSummary]) -> str:
    header = ("run", "status", "parameters", "updates", "tokens", "seconds", "held-out loss")
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
        for kind, lines in (("th", [header]), ("td", cells))
        for line in lines
    )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Runs</title>'
        f"<style>{_STYLE}</style><h1>Runs</h1>{svg}<table>{table}</table></html>"
    )
