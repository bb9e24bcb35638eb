"""Rows of figures with their bars, as a table and as JSON."""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ingot.files import write_atomic

_PLAIN_WIDTH = 140  # of a table that goes to a file or a pipe
MOST_SHARE = 1.05  # of a limit; a figure beyond it shows that the limit was measured too low


@dataclass(frozen=True, slots=True)
class Row:
    """One figure, with a peer's figure and a limit if there are any.

    Attributes:
        name: What was measured.
        value: The figure, the median of repeats; None if it could not be measured.
        unit: Its unit, such as ``tokens/s``.
        spread: Half the range over the repeats, as a share of the median.
        peer: The peer that it is compared with, or a word on why it is missing.
        peer_value: The peer's figure, in the same unit.
        ratio: Factor over the peer; above 1 is better, also where less is better.
        limit: The most (or least) that is possible on this machine, in the same unit.
        share: ``value`` as a share of ``limit``.
        bar: The target in words, such as ``≥ 80% of encode_batch``.
        met: Whether the bar is met; None without a bar.
    """

    name: str
    value: float | None
    unit: str
    spread: float | None = None
    peer: str | None = None
    peer_value: float | None = None
    ratio: float | None = None
    limit: float | None = None
    share: float | None = None
    bar: str | None = None
    met: bool | None = None

    def __post_init__(self) -> None:
        """Refuse figures that JSON cannot hold, and a bar without a verdict.

        Raises:
            ValueError: a figure is not finite, or only one of ``bar`` and ``met`` is given.
        """
        for each in fields(self):
            figure = getattr(self, each.name)
            if isinstance(figure, float) and not math.isfinite(figure):
                raise ValueError(f"{self.name}: {each.name} is {figure}")
        if (self.bar is None) != (self.met is None):
            raise ValueError(f"{self.name}: a bar must be met or not met")

    @property
    def beats_limit(self) -> bool:
        """Whether the figure is beyond its measured limit: an error of the benchmark."""
        return self.share is not None and self.share > MOST_SHARE


@dataclass(slots=True)
class Report:
    """The rows of one benchmark, with the machine, versions and settings.

    Attributes:
        name: The benchmark, as in ``python -m benchmarks.NAME``.
        settings: Options of this run, such as sizes and repeats.
        packages: Packages whose versions matter to the figures.
        rows: Filled by ``add``.
        notes: Lines under the table, such as the parts that a quick run leaves out.
        load: Load of the machine over the minute before the benchmark began.
    """

    name: str
    settings: Mapping[str, Any]
    packages: Sequence[str] = ("ingot",)
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    load: float = field(default_factory=lambda: os.getloadavg()[0])

    def add(self, row: Row) -> None:
        """Add one row and show it at once on a terminal."""
        self.rows.append(row)
        if row.beats_limit:
            self.note(
                f"error: {row.name}: {row.share:.0%} of its limit; the limit was measured too low"
            )
        console = Console(stderr=True)
        if console.is_terminal:
            console.print(*(cell for cell in _cells(row) if cell), style="dim")

    def note(self, text: str) -> None:
        """Add one line to show under the table."""
        self.notes.append(text)

    @property
    def exit_code(self) -> int:
        """0 if every bar is met and no limit beaten, else 1; also 1 if there are no rows."""
        sound = all(row.met is not False and not row.beats_limit for row in self.rows)
        return 0 if self.rows and sound else 1

    def finish(self, json_path: Path | None = None) -> int:
        """Print the table, write the JSON if a file was named, and return the exit code."""
        self.print()
        if json_path:
            write_atomic(json_path, self.to_json())
        return self.exit_code

    def print(self, console: Console | None = None) -> None:
        """Print the rows as a table, then the notes."""
        console = console or Console()
        if not console.is_terminal:
            console.width = max(console.width, _PLAIN_WIDTH)
        table = Table(title=f"benchmarks.{self.name}")
        for heading in ("", "value", "±", "peer", "ratio", "limit", "share", "bar"):
            justify: Literal["left", "right"] = "left" if heading in {"", "bar"} else "right"
            table.add_column(heading, justify=justify, overflow="fold")  # never cut a figure off
        for row in self.rows:
            table.add_row(*_cells(row))
        console.print(table)
        for note in self.notes:
            console.print(note, markup=False)

    def to_json(self) -> bytes:
        """Return rows, machine, versions and settings as JSON."""
        data = {
            "benchmark": self.name,
            "machine": {**machine(), "load_before": self.load},
            "versions": _versions(self.packages),
            "settings": dict(self.settings),
            "notes": self.notes,
            "rows": [asdict(row) for row in self.rows],
        }
        return (json.dumps(data, indent=2, allow_nan=False) + "\n").encode()


def arguments(name: str, description: str) -> argparse.ArgumentParser:
    """Return a parser with the options of every benchmark: ``--quick`` and ``--json``."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=description)
    parser.add_argument(
        "--quick", action="store_true", help="small sizes and few repeats: about a minute"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the rows as JSON")
    return parser


def in_turn(sides: Mapping[str, Callable[[], float]], repeats: int) -> dict[str, list[float]]:
    """Run the sides one after the other, ``repeats`` times over, and return each one's figures.

    A machine that slows down or is shared then slows every side alike.
    """
    figures: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(repeats):
        for name, run in sides.items():
            figures[name].append(run())
    return figures


def median_and_spread(figures: Sequence[float]) -> tuple[float, float]:
    """Return the median, and half the range as a share of it.

    Raises:
        ValueError: there are no figures.
    """
    if not figures:
        raise ValueError("no figures")
    median = statistics.median(figures)
    half_range = (max(figures) - min(figures)) / 2
    return median, half_range / abs(median) if median else 0.0


def machine() -> dict[str, Any]:
    """Return the machine: processor, cores, memory, system and Python."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def _cells(row: Row) -> tuple[str, ...]:
    value = "not measured" if row.value is None else f"{_figure(row.value)} {row.unit}"
    peer = " ".join(part for part in (escape(row.peer or ""), _figure(row.peer_value)) if part)
    verdict = "" if row.met is None else "[green]met[/]" if row.met else "[red]NOT met[/]"
    return (
        escape(row.name),
        escape(value),
        _percent(row.spread),
        peer,
        "" if row.ratio is None else f"{row.ratio:.2f}x",
        _figure(row.limit),
        _percent(row.share),
        f"{escape(row.bar)}: {verdict}" if row.bar else "",
    )


def _figure(value: float | None) -> str:
    """Return a number with about four significant digits."""
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _versions(packages: Sequence[str]) -> dict[str, str]:
    """Return the version of each package, or "not installed"."""
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found
