"""The run as a person watches it in a terminal; one plain line now and then elsewhere."""

from __future__ import annotations

import itertools
import time
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ingot.training.monitoring.events import (
    Checkpointed,
    Evaluated,
    Event,
    Sampled,
    Skipped,
    Started,
    Stepped,
)

_PLAIN_EVERY = 10.0  # seconds between lines where there is no terminal
_BARS = "▁▂▃▄▅▆▇█"
_CURVE = 60


class LiveView:
    """An observer that draws; use it as a context manager."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, refresh_per_second=4) if console.is_terminal else None
        self._stepped: Stepped | None = None
        self._evaluated: Evaluated | None = None
        self._sampled: Sampled | None = None
        self._losses: list[float] = []
        self._printed = 0.0

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.update(self._draw())
            self._live.stop()

    def __call__(self, event: Event) -> None:
        """Take one event in and show it."""
        if isinstance(event, Started):
            self._say(
                f"model of {event.parameters / 1e6:.2f}M parameters, vocabulary "
                f"{event.vocab_size}, {event.note}"
                + (f", from step {event.step}" if event.step else "")
            )
        elif isinstance(event, Stepped):
            self._stepped = event
            self._losses.append(event.loss)
            if not self._live and time.monotonic() - self._printed > _PLAIN_EVERY:
                self._printed = time.monotonic()
                self._say(_line(event))
        elif isinstance(event, Skipped):
            self._say(
                f"step {event.step}: skipped ({event.why}), loss {event.loss:g} and gradient "
                f"norm {event.gradient_norm:g}, {event.total} so far"
                + ("" if event.back_to is None else f"; back to step {event.back_to}")
            )
        elif isinstance(event, Evaluated):
            self._evaluated = event
            self._say(
                f"step {event.step}: held-out loss {event.loss:.4f}"
                + ("" if event.bits_per_byte is None else f", {event.bits_per_byte:.4f} bits/byte")
                + (" (best)" if event.best else "")
            )
        elif isinstance(event, Sampled):
            self._sampled = event
        elif isinstance(event, Checkpointed) and not self._live:
            self._say(f"step {event.step}: checkpoint {event.path}")
        if self._live:
            self._live.update(self._draw())

    def _say(self, text: str) -> None:
        (self._live.console if self._live else self._console).print(
            text, markup=False, highlight=False, soft_wrap=True
        )

    def _draw(self) -> RenderableType:
        if self._stepped is None:
            return Text("measuring the corpus …", style="dim")
        step = self._stepped
        grid = Table.grid(padding=(0, 3))
        peak = "not measured" if step.share_of_peak is None else f"{step.share_of_peak:.0%}"
        grid.add_row(
            _figure("step", f"{step.step:,}"),
            _figure("loss", f"{step.loss:.3f}"),
            _figure("bits/byte", _bits(step)),
            _figure("held-out", _bits(self._evaluated) if self._evaluated else "…"),
            _figure("tokens/s", f"{step.tokens_per_second:,.0f}"),
            _figure("of peak", peak),
            _figure("left", _clock(step.seconds_left)),
            *([] if step.money is None else [_figure("spent", f"{step.money:.2f}")]),
        )
        parts: list[RenderableType] = [
            Padding(ProgressBar(total=1.0, completed=step.progress), 0),  # it ends no line itself
            grid,
            Text(_curve(self._losses), style="cyan"),
        ]
        if self._sampled:
            words = Text(self._sampled.prompt, style="dim")
            parts.append(words.append(self._sampled.text, style="bold"))
        return Panel(Group(*parts), title="training", border_style="dark_orange")


def _bits(event: Stepped | Evaluated) -> str:
    return "–" if event.bits_per_byte is None else f"{event.bits_per_byte:.3f}"  # noqa: RUF001


def _figure(name: str, value: str) -> Text:
    return Text(value, style="bold").append(f"\n{name}", style="dim")


def _line(step: Stepped) -> str:
    peak = "" if step.share_of_peak is None else f", {step.share_of_peak:.0%} of peak"
    return (
        f"step {step.step} ({step.progress:.0%}): loss {step.loss:.3f}, "
        f"{_bits(step)} bits per byte, {step.tokens_per_second:,.0f} tokens/s{peak}, "
        f"{_clock(step.seconds_left)} left"
    )


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _curve(losses: list[float]) -> str:
    """Draw the loss so far as a row of bars, each the mean of its share of the steps."""
    width = min(_CURVE, len(losses))
    edges = [len(losses) * column // width for column in range(width + 1)]
    means = [sum(losses[low:high]) / (high - low) for low, high in itertools.pairwise(edges)]
    low, high = min(means), max(means)
    scale = (len(_BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(_BARS[round((mean - low) * scale)] for mean in means)
