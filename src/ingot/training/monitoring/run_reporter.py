"""The reporter of a run: its record, its trackers, its observers and its result."""

from __future__ import annotations

import contextlib
import math
import statistics
from collections.abc import Iterator
from dataclasses import dataclass

from ingot.training.compute.flops import training_flops
from ingot.training.monitoring.events import Event, Observer, Stepped
from ingot.training.monitoring.metrics import Metrics
from ingot.training.monitoring.trackers import open_trackers
from ingot.training.run_folder.run import Run
from ingot.training.run_folder.run_state import RunState


@dataclass(frozen=True)
class TrainingResult:
    """How a run ended."""

    steps: int
    tokens: int
    flops: float
    seconds: float
    training_loss: float
    """Smoothed over the last updates."""
    first_loss: float | None
    """Training loss of the first update; None if none was applied."""
    last_loss: float | None
    """Training loss of the last update."""
    validation_loss: float
    bits_per_byte: float | None
    """None where the loss is not that of a text."""
    tokens_per_second: float
    """Median over the updates of this sitting."""
    share_of_peak: float | None
    """Median over the updates of this sitting; None where the peak was not measured."""
    energy_kwh: float | None = None
    """None where the machine's power was not given."""
    money: float | None = None
    """None where no price was given."""

    def told(self) -> str:
        """Return how many updates were made, and what became of the training loss."""
        updates = f"{self.steps:,} update{'s' if self.steps != 1 else ''}"
        if self.first_loss is None or self.last_loss is None:
            return f"{updates}, none of which was applied"
        losses = f"from {self.first_loss:.3f} to {self.last_loss:.3f}"
        if self.last_loss < self.first_loss:
            return f"{updates}, training loss {losses}"
        return f"{updates}, training loss did not fall ({losses}): train for longer"


class RunReporter:
    """Passes events on and computes speeds; outside the main process it is silent.

    Args:
        run: The run.
        observe: Called with each event.
        bytes_per_token: UTF-8 bytes of a mean token that counts, if the loss is a text's.
        is_main: Whether this process reports.
        devices: How many there are of what the run's peak was measured on.
    """

    def __init__(
        self,
        run: Run,
        observe: Observer,
        bytes_per_token: float | None,
        *,
        is_main: bool,
        devices: int = 1,
    ) -> None:
        self._run, self._watcher, self._is_main = run, observe, is_main
        self._bits = None if bytes_per_token is None else 1 / math.log(2) / bytes_per_token
        self._config = run.model_config
        peak = run.record.peak_flops
        self._peak = peak * devices if peak else None
        self._speeds: list[float] = []
        self._context = run.recipe.batch.context
        self._metrics: Observer | None = None

    @contextlib.contextmanager
    def recording(self, *, from_step: int) -> Iterator[None]:
        """Keep the run's record open; what it holds past ``from_step`` will be redone."""
        if not self._is_main:
            yield
            return
        recipe = self._run.recipe
        tables = recipe.model_dump(mode="json")
        trackers = open_trackers(self._run.path, recipe.wandb, tables, from_step=from_step)
        with Metrics(self._run.path, trackers, from_step=from_step) as self._metrics:
            yield

    def __call__(self, event: Event) -> None:
        """Report one event."""
        if self._is_main:
            if self._metrics:
                self._metrics(event)
            self._watcher(event)

    def count(self, speed: float, context: int) -> None:
        """Take in the tokens per second of the last few seconds, and how long sequences were."""
        self._speeds.append(speed)
        self._context = context

    def stepped(
        self,
        state: RunState,
        loss: float,
        norm: float,
        rate: float,
        share: float,
        seconds: tuple[float, float],
    ) -> None:
        """Report an update that was applied; ``seconds`` are those so far and those left."""
        cost = self._run.recipe.cost
        speed = self._speeds[-1]
        flops = speed * training_flops(self._config, self._run.recipe.lora, self._context)
        self(
            Stepped(
                step=state.step,
                progress=share,
                loss=loss,
                bits_per_byte=None if self._bits is None else loss * self._bits,
                learning_rate=rate,
                gradient_norm=norm,
                tokens=state.tokens,
                tokens_per_second=speed,
                flops_per_second=flops,
                share_of_peak=flops / self._peak if self._peak else None,
                seconds_left=seconds[1],
                energy_kwh=cost.energy_kwh(seconds[0]),
                money=cost.money(seconds[0]),
            )
        )

    def result(self, state: RunState) -> TrainingResult:
        """Return how the run ended."""
        speed = statistics.median(self._speeds) if self._speeds else 0.0
        flops = speed * training_flops(self._config, self._run.recipe.lora, self._context)
        return TrainingResult(
            steps=state.step,
            tokens=state.tokens,
            flops=state.flops,
            seconds=state.elapsed,
            training_loss=state.training_loss or 0.0,
            first_loss=state.first_loss,
            last_loss=state.last_loss,
            validation_loss=state.validation_loss or 0.0,
            bits_per_byte=state.bits_per_byte,
            tokens_per_second=speed,
            share_of_peak=flops / self._peak if self._peak else None,
            energy_kwh=self._run.recipe.cost.energy_kwh(state.elapsed),
            money=self._run.recipe.cost.money(state.elapsed),
        )
