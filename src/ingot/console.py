"""Progress of long work on the terminal, written to standard error."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from ingot.api.training import Callbacks
from ingot.corpus import Corpus
from ingot.corpus import Progress as CorpusProgress
from ingot.errors import Interrupted
from ingot.interruption import stoppable
from ingot.planning import Machine, Plan
from ingot.training.config.recipe import Recipe
from ingot.training.monitoring.events import Checkpointed, Event, Skipped, Started, Stepped
from ingot.training.monitoring.live_view import LiveView


class ConsoleReporter:
    """Shows a training run from the first measurement to the last checkpoint."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: LiveView | None = None
        self._bars: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._made = self._saved = 0
        self.machine: Machine | None = None

    def say(self, text: str) -> None:
        """Print one line without markup."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def callbacks(self, interrupted: threading.Event) -> Callbacks:
        """Return callbacks that show what they receive."""
        return Callbacks(
            on_machine=self._machine,
            on_recipe=self._recipe,
            on_progress=self._progress,
            on_corpus=self._corpus,
            on_event=self._event,
            interrupted=interrupted,
        )

    @property
    def unsaved(self) -> bool:
        """Whether the run has made updates that no checkpoint holds."""
        return self._made > self._saved

    def close(self) -> None:
        """Stop all progress bars and live views."""
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
        chosen = {choice.key: choice for choice in plan.choices} if plan else {}
        table = Table(box=None, padding=(0, 2), header_style="dim")
        for heading in ("choice", "value", "why"):
            table.add_column(heading)
        for section, values in recipe.model_dump(exclude_none=True).items():
            for key, value in values.items():
                name = f"{section}.{key}"
                if choice := chosen.get(name):
                    why = choice.why if value == choice.value else "set by you"
                    table.add_row(name, str(value), why)
        if table.row_count:
            self._console.print(table)

    def _progress(self, progress: CorpusProgress) -> None:
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

    def _corpus(self, corpus: Corpus) -> None:
        self._stop_bars()
        for line in corpus.manifest.left_out():
            self.say(line)

    def _event(self, event: Event) -> None:
        match event:
            case Started(step=step):
                self._made = self._saved = step
            case Stepped(step=step) | Skipped(step=step):
                self._made = step
            case Checkpointed(step=step):
                self._saved = step
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
def report_to(
    console: Console, stopped: Callable[[], Interrupted]
) -> Iterator[tuple[ConsoleReporter, Callbacks]]:
    """Show progress inside the block, and hear SIGINT and SIGTERM.

    A run with updates that no checkpoint holds stops after its current update, with a
    checkpoint; everything else stops at once.

    Args:
        console: Where to show it.
        stopped: Returns the error that says what was kept.

    Raises:
        Interrupted: the block was stopped.
    """
    interrupted = threading.Event()
    reporter = ConsoleReporter(console)

    def finish() -> bool:
        if not (reporter.unsaved or _is_helper()):
            return False
        if not interrupted.is_set():
            interrupted.set()
            reporter.say("stopping after this update, with a checkpoint (again: at once)")
        return True

    with stoppable(stopped, finish=finish):
        try:
            yield reporter, reporter.callbacks(interrupted)
        finally:
            reporter.close()
    if interrupted.is_set():  # too late to change anything, but what follows is not wanted
        raise stopped()


def _is_helper() -> bool:
    """Tell whether another process of ``torchrun`` decides when to stop."""
    return os.environ.get("RANK", "0") != "0"
