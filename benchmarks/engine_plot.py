"""The roofline plot of the kernels' products."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure


def draw_roofline(
    points: Sequence[tuple[str, float, float]], peak: float, bandwidth: float, out: Path
) -> None:
    """Draw products per second over products per byte.

    Args:
        points: Name, multiply-adds per byte of weights, multiply-adds per second.
        peak: Most multiply-adds per second.
        bandwidth: Bytes per second.
        out: The picture to write.
    """
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot()
    low, high = min(x for _, x, _ in points) / 2, max(x for _, x, _ in points) * 2
    line = np.geomspace(low, high, 200)
    axes.loglog(line, np.minimum(line * bandwidth, peak) / 1e9, color="grey", label="the machine")
    for kind in ("int8", "int4", "bf16"):
        mine = [(x, y) for name, x, y in points if name.startswith(kind)]
        axes.loglog([x for x, _ in mine], [y / 1e9 for _, y in mine], "o-", label=kind)
    axes.set_xlabel("multiply-adds per byte of weights (rows: 1, 8, 64, 512)")
    axes.set_ylabel("billion multiply-adds per second")
    axes.grid(alpha=0.3, which="both")
    axes.legend()
    figure.savefig(out, dpi=110)
