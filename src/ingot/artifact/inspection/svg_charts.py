"""Charts as SVG text, for a page that runs no script."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

WIDTH = 720
"""Of every chart, in its own units; the page scales it."""

_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 12, 10, 34


@dataclass(frozen=True)
class Bar:
    """One bar of a bar chart, made of segments."""

    label: str
    segments: Sequence[tuple[str, float]]
    """(CSS class, length) in turn."""
    note: str
    """Written at its end."""


@dataclass(frozen=True)
class Line:
    """A line through points, in the order of x."""

    label: str
    css: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Box:
    """Five figures of a distribution at one place: 1%, 25%, 50%, 75%, 99%, and its extremes."""

    label: str
    quantiles: Sequence[float]
    least: float
    most: float


def bars(rows: Sequence[Bar], title: str) -> str:
    """Return a horizontal bar chart, its lengths relative to the longest bar."""
    left, note, step = 150, 170, 30
    longest = max((sum(length for _, length in row.segments) for row in rows), default=0) or 1
    scale = (WIDTH - left - note) / longest
    parts = []
    for number, row in enumerate(rows):
        y, x = number * step + 4, float(left)
        parts.append(_text(left - 10, y + 15, row.label, "end"))
        for css, length in row.segments:
            width = length * scale
            parts.append(
                f'<rect class="{css}" x="{x:.1f}" y="{y}" width="{width:.1f}" height="20"/>'
            )
            x += width
        parts.append(_text(x + 8, y + 15, row.note, "start", "quiet"))
    return _svg(len(rows) * step + 4, title, parts)


def lines(series: Sequence[Line], title: str, x_label: str, height: int = 260) -> str:
    """Return a line chart with both axes linear."""
    points = [point for line in series for point in line.points]
    area = _Area(height, [x for x, _ in points], [y for _, y in points])
    parts = [*area.grid(x_label)]
    for line in series:
        path = " ".join(f"{area.x(x):.1f},{area.y(y):.1f}" for x, y in line.points)
        if len(line.points) == 1:
            (x, y) = line.points[0]
            parts.append(
                f'<circle class="dot {line.css}" cx="{area.x(x):.1f}" cy="{area.y(y):.1f}" r="4"/>'
            )
        else:
            parts.append(f'<polyline class="line {line.css}" points="{path}"/>')
    return _svg(height, title, parts)


def boxes(rows: Sequence[Box], title: str, x_label: str, height: int = 240) -> str:
    """Return a box for each place along x: half of the values in it, 98% in its whiskers."""
    inner = [value for row in rows for value in row.quantiles]
    area = _Area(height, [-0.5, len(rows) - 0.5], inner, x_ticks=False)
    width = min(26.0, 0.62 * (area.x(1) - area.x(0)))
    parts = [*area.grid(x_label)]
    every = math.ceil(len(rows) / 24)
    for number, row in enumerate(rows):
        x = area.x(number)
        low, lower, middle, upper, high = (area.y(value) for value in row.quantiles)
        told = ", ".join(
            f"{share} {value:.3g}"
            for share, value in zip(
                ("1%", "25%", "median", "75%", "99%"), row.quantiles, strict=True
            )
        )
        told = f"{row.label}: {told}; from {row.least:.3g} to {row.most:.3g}"
        parts.append(
            f"<g><title>{escape(told)}</title>"
            f'<line class="whisker" x1="{x:.1f}" x2="{x:.1f}" y1="{low:.1f}" y2="{high:.1f}"/>'
            f'<rect class="box" x="{x - width / 2:.1f}" y="{upper:.1f}" width="{width:.1f}" '
            f'height="{max(lower - upper, 1):.1f}"/>'
            f'<line class="median" x1="{x - width / 2:.1f}" x2="{x + width / 2:.1f}" '
            f'y1="{middle:.1f}" y2="{middle:.1f}"/></g>'
        )
        if number % every == 0:
            parts.append(_text(x, height - _BOTTOM + 15, row.label, "middle", "quiet"))
    return _svg(height, title, parts)


def histogram(
    counts: Sequence[float], low: float, high: float, title: str, height: int = 200
) -> str:
    """Return the shares of values in bins of equal width between two ends."""
    area = _Area(height, [low, high], [0.0, max(counts, default=1.0) or 1.0])
    width = (high - low) / max(1, len(counts))
    base = area.y(0)
    steps = [f"{area.x(low):.1f},{base:.1f}"]
    for number, count in enumerate(counts):
        y = area.y(count)
        steps += [
            f"{area.x(low + number * width):.1f},{y:.1f}",
            f"{area.x(low + (number + 1) * width):.1f},{y:.1f}",
        ]
    steps.append(f"{area.x(high):.1f},{base:.1f}")
    shape = f'<polygon class="box" points="{" ".join(steps)}"/>'
    return _svg(height, title, [*area.grid("value"), shape])


class _Area:
    """The part of a chart between its axes, and their scales."""

    def __init__(
        self, height: int, xs: Sequence[float], ys: Sequence[float], *, x_ticks: bool = True
    ) -> None:
        self._height = height
        self._x_ticks = _ticks(min(xs), max(xs), 8) if x_ticks else []
        self._y_ticks = _ticks(min(ys), max(ys), 5)
        self.x = _scale(min(xs), max(xs), _LEFT, WIDTH - _RIGHT)
        bottom = min(*ys, self._y_ticks[0])
        top = max(*ys, self._y_ticks[-1])
        self.y = _scale(bottom, top, height - _BOTTOM, _TOP)

    def grid(self, x_label: str) -> list[str]:
        """Return the lines and numbers of both axes."""
        parts = []
        for tick in self._y_ticks:
            y = self.y(tick)
            parts.append(
                f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            )
            parts.append(_text(_LEFT - 8, y + 4, _number(tick), "end", "quiet"))
        for tick in self._x_ticks:
            parts.append(
                _text(self.x(tick), self._height - _BOTTOM + 15, _number(tick), "middle", "quiet")
            )
        parts.append(_text((_LEFT + WIDTH) / 2, self._height - 2, x_label, "middle", "quiet"))
        return parts


def _scale(low: float, high: float, start: float, stop: float) -> Callable[[float], float]:
    """Return the function from a range of values to a range of positions."""
    span = (high - low) or 1.0
    return lambda value: start + (value - low) / span * (stop - start)


def _ticks(low: float, high: float, most: int) -> list[float]:
    """Return round numbers in a range: multiples of 1, 2 or 5 times a power of ten."""
    span = high - low
    if not span > 0:
        return [low]
    power = 10.0 ** math.floor(math.log10(span / most))
    step = next(
        (power * factor for factor in (1, 2, 5) if span / (power * factor) <= most), power * 10
    )
    first, last = math.ceil(low / step), math.floor(high / step)
    # Held to the range: where it is a few floats wide, a multiple may round out of it.
    return [min(max(number * step, low), high) for number in range(first, last + 1)] or [low]


def _number(value: float) -> str:
    if abs(value) >= 1e6:
        return f"{value / 1e6:g}M"
    return f"{value / 1e3:g}k" if abs(value) >= 1e4 else f"{value:.6g}"


def _text(x: float, y: float, text: str, anchor: str, css: str = "") -> str:
    return (
        f'<text class="{css}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
    )


def _svg(height: int, title: str, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}">'
        f"{''.join(parts)}</svg>"
    )
