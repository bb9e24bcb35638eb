"""The experiments with a real model, in a terminal."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Self

from rich.progress import BarColumn, Progress, TextColumn

from ingot.api import inference
from ingot.api.inference import Model
from ingot.api.training import Callbacks
from ingot.artifact import verify
from ingot.corpus import Progress as CorpusProgress
from ingot.lesson.experiments import evidence
from ingot.lesson.experiments.cache_growth import trace_cache
from ingot.lesson.experiments.engine_load import LoadTiming, time_answers
from ingot.lesson.experiments.full_size import (
    InferenceTrace,
    UpdateTrace,
    trace_inference,
    trace_update,
)
from ingot.lesson.experiments.guardrails import GuardrailResult, try_guardrails
from ingot.lesson.experiments.large_model import LLAMA_3_8B
from ingot.lesson.experiments.machine_load import Measured, least_disturbed, watched
from ingot.lesson.experiments.phases import Phases, measure_phases
from ingot.lesson.experiments.small_model import PROMPT, LessonModel, train_model
from ingot.lesson.report import tables
from ingot.lesson.report.record import LargeModelCost, Machine, Record, Training
from ingot.lesson.terminal.display import Display
from ingot.lesson.terminal.system_design import SystemDesignResult, run_system_design
from ingot.training.monitoring.events import Event, Stepped

_QUESTIONS = 20
_REPORTS = 5  # lines about the run where no bar can be drawn
_LOAD_USERS, _LOAD_TOKENS = 16, 32
_CACHE_TOKENS = 96


class ModelExperiments:
    """The real model's experiments, in the order of the lesson; each uses what came before.

    Args:
        display: Where they are shown.
        folder: An empty folder for the run and the ingots.
        updates: How long the model is trained.
    """

    _trained: Measured[LessonModel]
    _first_loss: float
    _model: Model
    _update: UpdateTrace
    _asked: InferenceTrace
    _phases: Measured[Phases]
    _load: Measured[LoadTiming]
    _design: SystemDesignResult
    _guardrails: tuple[GuardrailResult, ...]

    def __init__(self, display: Display, folder: Path, updates: int) -> None:
        self._display, self._folder, self._updates = display, folder, updates
        self._opened = contextlib.ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    @property
    def digest(self) -> str:
        """Digest of the trained and sealed model."""
        return self._model.digest

    def train(self) -> None:
        """Train the real model and seal it."""
        display, losses = self._display, list[float]()
        with Progress(
            TextColumn("  {task.description}"), BarColumn(), console=display.console, transient=True
        ) as bar:
            task = bar.add_task("measuring the machine", total=1.0)

            def prepare(progress: CorpusProgress) -> None:
                share = progress.done / max(progress.total, 1)
                bar.update(task, completed=share, description=f"text: {progress.phase}")

            def watch(event: Event) -> None:
                if isinstance(event, Stepped):
                    losses.append(event.loss)
                    bar.update(task, completed=event.progress, description=f"loss {event.loss:.2f}")

            callbacks = Callbacks(on_progress=prepare, on_event=watch)
            self._trained = watched(
                lambda: train_model(self._folder, callbacks, updates=self._updates)
            )
        self._first_loss = losses[0]
        result = self._trained.value.result
        display.line(
            f"{result.steps} updates in {result.seconds:.1f} s over {result.tokens:,} tokens. "
            "The loss during training, in nats:"
        )
        for update in sorted(
            {round(part * (len(losses) - 1) / _REPORTS) for part in range(_REPORTS + 1)}
        ):
            display.line(
                f"  update {update + 1:>4}   loss {losses[update]:.3f}   {_bar(losses[update])}"
            )
        display.busy(self._trained)

    def one_update(self) -> str:
        """Show one update token by token, then ask the sealed model; return the evidence."""
        display = self._display
        self._update = shown = trace_update(self._trained.value.run)
        display.line(f"The model has read: {shown.context!r}")
        display.show(tables.update(shown))
        display.line(
            f"Loss {shown.loss_before:.3f} before the update, {shown.loss_after:.3f} after. "
            f"{shown.changed:,} of {shown.weights:,} weights changed;"
        )
        display.line(f"digest {shown.digest_before[:16]}… became {shown.digest_after[:16]}….")
        self._model = self._opened.enter_context(inference.load(self._trained.value.ingot))
        self._asked = asked = trace_inference(self._model, PROMPT, questions=_QUESTIONS)
        likeliest = ", ".join(f"{token!r} {share:.0%}" for token, share in asked.likeliest)
        display.console.print()
        display.line(f"Asked. Likeliest after {asked.prompt!r}: {likeliest}. It answers:")
        display.line(asked.prompt + asked.answer, style="dark_orange")
        same = asked.digest_before == asked.digest_after
        display.line(
            f"After {asked.questions} answers the digest over its weights is "
            f"{'the same' if same else 'another'}: {asked.digest_after[:16]}…."
        )
        return evidence.updates(shown, asked)

    def seal(self) -> str:
        """Show the seal, a write to it, and a changed copy; return the evidence."""
        display, ingot = self._display, self._trained.value.ingot
        manifest = verify(ingot)
        display.line(f"Sealed: {len(manifest.tensors)} tensors under one digest:")
        display.line(manifest.digest)
        display.line(
            f"{self._asked.intact} of {self._asked.tensors} tensors in memory are what was sealed. "
            "A write to one of them:"
        )
        display.line(self._asked.refusal, style="red")
        return evidence.fixed(evidence.refused_tampering(ingot, self._folder))

    def needs(self) -> str:
        """Measure both phases and say what a large model would take here; return the evidence."""
        display, lesson_model = self._display, self._trained.value
        self._phases = watched(lambda: measure_phases(lesson_model.run, self._model))
        display.show(tables.phase_needs(self._phases.value))
        cost, flops = self._large_model, lesson_model.machine.matmul_flops
        display.line(
            f"This machine multiplies matrices at {tables.number(flops)}FLOP/s (measured). Trained "
            f"as published, {cost.name} would keep it busy for {cost.training_years:,.0f} years; "
            f"serving it costs {tables.time(cost.seconds_per_token)} of that work a token."
        )
        display.busy(self._trained)
        return evidence.needs(self._phases.value)

    def serve_users(self) -> str:
        """Let users ask at once; return the evidence."""
        display, model = self._display, self._model
        start = [model.ingot.tokenizer.start_id]
        self._load = least_disturbed(
            lambda: time_answers(model, [start] * _LOAD_USERS, tokens=_LOAD_TOKENS),
            display.measures_again,
        )
        display.show(tables.phase_speeds(self._phases.value))
        display.busy(self._phases if self._phases.busy else self._load)
        return evidence.serves(self._load.value, self._phases.value)

    def fill_cache(self) -> str:
        """Watch the cache grow; return the evidence."""
        growth = trace_cache(self._trained.value.ingot, tokens=_CACHE_TOKENS)
        self._display.show(tables.cache(growth))
        return evidence.unchanged(growth)

    def design(self) -> str:
        """Show what each switch does to goodput and cost; return the evidence."""
        self._design = run_system_design(self._display, self._folder, self._model.ingot.tokenizer)
        return evidence.tuned(self._phases.value)

    def guard(self) -> None:
        """Answer one prompt with each guardrail."""
        example = self._display.content.guardrails
        self._guardrails = try_guardrails(self._model, example)
        self._display.line(f"The prompt: {example.prompt!r}")
        self._display.line(f"The system prompt: {example.system.strip()!r}")
        self._display.show(tables.guardrails(self._guardrails, example))

    def record(self, found: dict[str, str]) -> Record:
        """Return everything that was measured.

        Args:
            found: The evidence by the question's id.
        """
        lesson_model = self._trained.value
        result, machine = lesson_model.result, lesson_model.machine
        return Record(
            machine=Machine(machine.name, machine.cores, machine.matmul_flops),
            training=Training(
                steps=result.steps,
                tokens=result.tokens,
                seconds=result.seconds,
                first_loss=self._first_loss,
                validation_loss=result.validation_loss,
            ),
            update=self._update,
            asked=self._asked,
            phases=self._phases.value,
            large_model=self._large_model,
            switches=self._design.switches.value,
            loads=self._design.loads,
            price_per_hour=self._display.content.system_design.price_per_hour,
            switches_parameters=self._design.parameters,
            guardrails=self._guardrails,
            evidence=found,
            others={
                "training": self._trained.others,
                "phases": self._phases.others,
                "users": self._load.others,
                "switches": self._design.switches.others,
            },
        )

    @property
    def _large_model(self) -> LargeModelCost:
        flops = self._trained.value.machine.matmul_flops
        return LargeModelCost(
            LLAMA_3_8B.name, LLAMA_3_8B.training_years(flops), LLAMA_3_8B.seconds_per_token(flops)
        )


def _bar(loss: float) -> str:
    return "█" * round(6 * loss)
