"""What servers do for more and more clients, as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from benchmarks.http_load import Loop


def draw_loops(loops: Mapping[str, Sequence[Loop]], out: Path) -> None:
    """Draw throughput, goodput and waits over clients, a line for each server.

    Args:
        loops: What each server did, by its name.
        out: The picture to write.
    """
    clients = [each.clients for each in next(iter(loops.values()))]
    figure = Figure(figsize=(9, 7), layout="constrained")
    axes = figure.subplots(2, 2)
    for name, own in loops.items():
        axes[0][0].plot(clients, [each.tokens for each in own], "o-", label=name)
        axes[0][1].plot(clients, [each.goodput for each in own], "o-")
        axes[1][0].plot(clients, [1e3 * each.ttft[1] for each in own], "o-")
        axes[1][1].plot(clients, [1e3 * each.tpot[1] for each in own], "o-")
    titles = ("tokens per second", "requests per second within objectives")
    waits = ("first token, 99th percentile, ms", "each further token, 99th percentile, ms")
    for axis, title in zip(axes.flat, titles + waits, strict=True):
        axis.set_title(title, fontsize=10)
        axis.set_xscale("log", base=4)
        axis.set_xticks(clients, [str(count) for count in clients])
        axis.minorticks_off()
        axis.set_xlabel("clients")
        axis.grid(alpha=0.3, which="both")
    for axis in axes[1]:
        axis.set_yscale("log")
    axes[0][0].legend()
    figure.savefig(out, dpi=110)
