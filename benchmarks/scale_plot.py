"""Tail latency of fleets over their load, as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure


@dataclass(frozen=True)
class Curve:
    """One fleet's times over its load."""

    name: str
    first_s: float
    """Most seconds to the first token, by the objective."""
    gap_s: float
    """Most seconds between two tokens, by the objective."""
    points: Sequence[tuple[float, ...]]
    """Requests per second and replica; first token p50 and p99; between tokens p50 and p99."""


def draw_curves(curves: Sequence[Curve], out: Path) -> None:
    """Draw each fleet's times, with its objective as a line.

    Args:
        curves: The fleets.
        out: The picture to write.
    """
    figure = Figure(figsize=(4 * len(curves), 6), layout="constrained")
    grid = figure.subplots(2, len(curves), squeeze=False)
    for column, curve in enumerate(curves):
        loads = [point[0] for point in curve.points]
        for row, (what, limit) in enumerate(
            (("first token", curve.first_s), ("between tokens", curve.gap_s))
        ):
            axis = grid[row][column]
            for offset, name in ((1, "p50"), (2, "p99")):
                seconds = [point[2 * row + offset] for point in curve.points]
                axis.plot(loads, [1e3 * each for each in seconds], "o-", label=name)
            axis.axhline(1e3 * limit, color="gray", linestyle="--", label="objective")
            axis.set_yscale("log")
            axis.set_title(f"{curve.name}: {what}, ms", fontsize=9)
            axis.set_xlabel("requests per second and replica")
            axis.grid(alpha=0.3, which="both")
    grid[0][0].legend()
    figure.savefig(out, dpi=100)
