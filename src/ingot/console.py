"""What the command line shows while work goes on. Everything here goes to standard error."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from ingot.api.training import Watcher
from ingot.corpus import Progress as CorpusProgress
from ingot.planning import Machine, Plan
from ingot.training import Recipe
from ingot.training.monitoring.events import Event
from ingot.training.monitoring.live_view import LiveView


class Show:
    """Draws a training run from the first measurement to the last checkpoint."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: LiveView | None = None
        self._bars: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self.machine: Machine | None = None

    def say(self, text: str) -> None:
        """Print one line as it is."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def watcher(self, interrupted: threading.Event) -> Watcher:
        """Return the functions that draw."""
        return Watcher(
            machine=self._machine,
            recipe=self._recipe,
            corpus=self._corpus,
            training=self._training,
            interrupted=interrupted,
        )

    @property
    def training(self) -> bool:
        """Whether a run is under way."""
        return self._live is not None

    def close(self) -> None:
        """Leave the terminal as it was found."""
        self._stop_bars()
        if self._live:
            self._live.__exit__(None, None, None)
            self._live = None

    def _machine(self, machine: Machine) -> None:
        self.machine = machine
        numbers = "bfloat16" if machine.bfloat16 else "float32"
        self.say(
            f"{machine.name}, {machine.cores} cores, "
            f"{machine.matmul_flops / 1e9:,.0f} GFLOP/s in {numbers} (measured)"
        )

    def _recipe(self, recipe: Recipe, plan: Plan | None) -> None:
        reasons = {choice.key: choice.why for choice in plan.choices} if plan else {}
        table = Table(box=None, padding=(0, 2), header_style="dim")
        for heading in ("choice", "value", "why"):
            table.add_column(heading)
        for section, values in recipe.model_dump(exclude_none=True).items():
            for key, value in values.items():
                name = f"{section}.{key}"
                if name in reasons:
                    table.add_row(name, str(value), reasons[name])
        self._console.print(table)

    def _corpus(self, progress: CorpusProgress) -> None:
        if self._bars is None:
            self._bars = Progress(
                TextColumn("{task.description:<28}"),
                BarColumn(),
                TextColumn("{task.percentage:>3.0f}%"),
                TimeRemainingColumn(),
                console=self._console,
            )
            if self._console.is_terminal:
                self._bars.start()
        task = self._tasks.get(progress.phase)
        if task is None:
            task = self._tasks[progress.phase] = self._bars.add_task(progress.phase)
            if not self._console.is_terminal:
                self.say(progress.phase)
        self._bars.update(task, completed=progress.done, total=progress.total)

    def _training(self, event: Event) -> None:
        self._stop_bars()
        if self._live is None:
            self._live = LiveView(self._console)
            self._live.__enter__()
        self._live(event)

    def _stop_bars(self) -> None:
        if self._bars and self._console.is_terminal:
            self._bars.stop()
        self._bars = None


@contextmanager
def showing(console: Console) -> Iterator[tuple[Show, Watcher]]:
    """Draw what happens inside; Ctrl-C and SIGTERM stop a run after its current update."""
    interrupted = threading.Event()
    show = Show(console)

    def stop(*_: object) -> None:
        if interrupted.is_set() or not show.training:
            raise KeyboardInterrupt  # the second time, or with nothing to save
        interrupted.set()

    previous = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield show, show.watcher(interrupted)
    finally:
        show.close()
        for number, handler in previous.items():
            signal.signal(number, handler)
