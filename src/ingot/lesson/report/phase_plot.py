"""Both phases as one plot: their table, their memory, and where serving overtakes training."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import Any
from xml.sax.saxutils import quoteattr

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.transforms import Bbox

from ingot.lesson.experiments.phases import Phases
from ingot.lesson.report.tables import phase_rows, size, time

_PAPER, _INK, _MUTED, _RULE = "#fffefc", "#1e2227", "#5d656e", "#d9d8d4"
_TRAINING, _INFERENCE = "#c2500f", "#5b646d"
_KINDS = {
    "weights": "#5b646d",
    "gradients": "#8b9198",
    "optimizer": "#b3541e",
    "for the text": "#f0a15e",
}
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text: smaller, and it can be searched and read aloud
    "text.parse_math": False,  # a "$" in an ingot's name is a dollar sign
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.edgecolor": _RULE,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "text.color": _INK,
    "xtick.color": _MUTED,
    "ytick.color": _MUTED,
}
_WIDTH_INCHES, _DPI = 10.0, 192


def plot_phases(phases: Phases, name: str) -> tuple[bytes, str]:
    """Draw both phases; return the plot as PNG, 1920 pixels wide, and as an SVG element.

    Args:
        phases: What was measured.
        name: The ingot's name, for the title.
    """
    rows = phase_rows(phases)
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH_INCHES, 0.27 * len(rows) + 4), facecolor=_PAPER)
        figure.suptitle(f"Two phases of {name}", x=0.04, y=0.96, ha="left", size=16)
        figure.text(0.95, 0.938, f"digest {phases.digest[:16]}", color=_MUTED, ha="right")
        grid = figure.add_gridspec(
            2, 2, height_ratios=(len(rows), 9), left=0.04, right=0.95, top=0.9, bottom=0.08,
            hspace=0.25, wspace=0.25,
        )  # fmt: skip
        _draw_table(figure.add_subplot(grid[0, :]), rows)
        _draw_memory(figure.add_subplot(grid[1, 0]), phases)
        _draw_break_even(figure.add_subplot(grid[1, 1]), phases)
        for axes in figure.axes:
            axes.set_facecolor(_PAPER)
        png, svg = io.BytesIO(), io.StringIO()
        figure.savefig(png, format="png", dpi=_DPI)
        figure.savefig(svg, format="svg", metadata={"Date": None})
    # Without the XML declaration, which HTML has no place for, and named for screen readers.
    _, _, element = svg.getvalue().partition("<svg")
    label = quoteattr(f"Training and inference of {name}, side by side")
    return png.getvalue(), f'<svg role="img" aria-label={label}{element}'


def _draw_table(axes: Axes, rows: Sequence[tuple[str, str, str]]) -> None:
    axes.axis("off")
    table = axes.table(
        [["", "training", "inference"], *rows],
        colWidths=[0.26, 0.37, 0.37],
        cellLoc="left",
        edges="B",
        bbox=Bbox.from_bounds(0, 0, 1, 1),
    )
    table.auto_set_font_size(False)
    for (row, column), cell in table.get_celld().items():
        cell.PAD = 0
        cell.set(edgecolor=_RULE, linewidth=0.6)
        if column == 0:
            cell.get_text().set_color(_MUTED)
        elif row == 0:
            cell.get_text().set_color((_TRAINING, _INFERENCE)[column - 1])


def _draw_memory(axes: Axes, phases: Phases) -> None:
    """Draw one stacked bar for each phase: what it holds for one sequence."""
    training = (
        phases.weight_bytes,
        phases.gradient_bytes,
        phases.optimizer_bytes,
        phases.activation_bytes,
    )
    inference = (phases.served_bytes, 0, 0, phases.kv_bytes * phases.context)
    held = {"training": training, "inference": inference}
    for row, (phase, parts) in enumerate(held.items()):
        starts = [sum(parts[:index]) for index in range(len(parts))]
        axes.barh(row, parts, left=starts, height=0.4, color=_KINDS.values())
        axes.text(0, row - 0.27, f"{phase}, {size(sum(parts))}", color=_MUTED)
    axes.set_title("Memory for one sequence")
    axes.set_ylim(1.4, -0.6)  # training above inference
    axes.set_xlim(0, sum(training))
    axes.legend(
        [Patch(color=color) for color in _KINDS.values()], _KINDS, ncols=4, frameon=False,
        loc="upper left", bbox_to_anchor=(0, 0), borderaxespad=0, borderpad=0, handlelength=1,
        columnspacing=1.5,
    )  # fmt: skip
    axes.axis("off")


def _draw_break_even(axes: Axes, phases: Phases) -> None:
    """Draw time spent over answers given, both on logarithmic axes."""
    once, each = phases.training_seconds, phases.answer_seconds
    last = 10.0 ** max(2, math.ceil(math.log10(phases.break_even)) + 1)
    axes.loglog([1, last], [once, once], color=_TRAINING, lw=2)
    axes.loglog([1, last], [each, each * last], color=_INFERENCE, lw=2)
    axes.plot([phases.break_even], [once], "s", color=_INK, ms=6)
    axes.annotate(
        f"training, once: {time(once)}", (1, once), (4, 4), textcoords="offset points",
        color=_TRAINING,
    )  # fmt: skip
    axes.annotate(
        f"an answer: {time(each)}", (last, each), (0, 4), textcoords="offset points", ha="right",
        color=_INFERENCE,
    )  # fmt: skip
    axes.set_title("Time spent, by answers given")
    axes.set_xlabel(f"they meet at {phases.break_even:,.0f} answers", loc="right")
    axes.set_yticks([])
    axes.minorticks_off()
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.margins(x=0, y=0.02)
    axes.grid(axis="x", color=_RULE)
