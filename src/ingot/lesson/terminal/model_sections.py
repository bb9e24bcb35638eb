"""The experiments with a real model, in a terminal."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rich.progress import BarColumn, Progress, TextColumn

from ingot.api.inference import Model
from ingot.api.training import Callbacks
from ingot.artifact import verify
from ingot.lesson.experiments.full_size import (
    InferenceTrace,
    UpdateTrace,
    trace_inference,
    trace_update,
)
from ingot.lesson.experiments.large_model import LLAMA_3_8B
from ingot.lesson.experiments.phases import Phases, measure_phases
from ingot.lesson.experiments.small_model import PROMPT, LessonModel, train_model
from ingot.lesson.experiments.switches import (
    ANSWER_TOKENS,
    PROMPT_TOKENS,
    USERS,
    SwitchBench,
    Switches,
    SwitchResult,
)
from ingot.lesson.report import tables
from ingot.lesson.report.record import LargeModelCost, Machine
from ingot.lesson.terminal.display import Display
from ingot.training.monitoring.events import Event, Stepped

_QUESTIONS = 20
_REPORTS = 5  # lines about the run where no bar can be drawn


@dataclass(frozen=True)
class Trained:
    """The lesson's model after its training, and one more update shown in slow motion."""

    lesson_model: LessonModel
    first_loss: float
    update: UpdateTrace


def train(display: Display, folder: Path, updates: int) -> Trained:
    """Train the real model, then show one update token by token."""
    losses: list[float] = []
    with Progress(
        TextColumn("  {task.description}"), BarColumn(), console=display.console, transient=True
    ) as bar:
        task = bar.add_task("training", total=1.0)

        def watch(event: Event) -> None:
            if isinstance(event, Stepped):
                losses.append(event.loss)
                bar.update(task, completed=event.progress, description=f"loss {event.loss:.2f}")

        lesson_model = train_model(folder, Callbacks(on_event=watch), updates=updates)
    result = lesson_model.result
    display.line(
        f"{result.steps} updates in {result.seconds:.1f} s over {result.tokens:,} tokens. "
        "The loss during training:"
    )
    for update in sorted(
        {round(part * (len(losses) - 1) / _REPORTS) for part in range(_REPORTS + 1)}
    ):
        display.line(
            f"  update {update + 1:>4}   loss {losses[update]:.3f}   {_bar(losses[update])}"
        )
    shown = trace_update(lesson_model.run)
    display.prompter.pause("one more update, token by token")
    display.line(f"The model has read: {shown.context!r}")
    display.show(tables.update(shown))
    display.line(
        f"Loss {shown.loss_before:.3f} before the update, {shown.loss_after:.3f} after. "
        f"{shown.changed:,} of {shown.weights:,} weights changed;"
    )
    display.line(f"digest {shown.digest_before[:16]}… became {shown.digest_after[:16]}….")
    return Trained(lesson_model, losses[0], shown)


def ask(display: Display, ingot: Path, model: Model) -> InferenceTrace:
    """Show the seal, ask the sealed model, and try to write its weights."""
    manifest = verify(ingot)
    display.prompter.pause("the sealed model")
    display.line(
        f"Sealed: {len(manifest.tensors)} tensors under one digest, {manifest.digest[:16]}…, "
        "its weights in read-only memory."
    )
    asked = trace_inference(model, PROMPT, questions=_QUESTIONS)
    likeliest = ", ".join(f"{token!r} {share:.0%}" for token, share in asked.likeliest)
    display.line(f"Likeliest after {asked.prompt!r}: {likeliest}.")
    display.line("It answers:")
    display.line(asked.prompt + asked.answer, style="dark_orange")
    same = asked.digest_before == asked.digest_after
    display.line(
        f"After {asked.questions} answers the digest over its weights is "
        f"{'the same' if same else 'another'}: {asked.digest_after[:16]}…; {asked.intact} of "
        f"{asked.tensors} tensors in memory are what was sealed."
    )
    display.line("A write to a sealed weight:")
    display.line(asked.refusal, style="red")
    return asked


def side_by_side(
    display: Display, lesson_model: LessonModel, model: Model
) -> tuple[Phases, Machine, LargeModelCost]:
    """Measure both phases and say what a large model would take here."""
    measured = measure_phases(lesson_model.run, model)
    display.show(tables.phases(measured))
    flops = lesson_model.machine.matmul_flops
    machine = Machine(lesson_model.machine.name, lesson_model.machine.cores, flops)
    cost = LargeModelCost(
        LLAMA_3_8B.name, LLAMA_3_8B.training_years(flops), LLAMA_3_8B.seconds_per_token(flops)
    )
    display.line(
        f"This machine multiplies matrices at {tables.number(flops)}FLOP/s (measured). Trained as "
        f"published, {cost.name} would keep it busy for {cost.training_years:,.0f} years; "
        f"serving it costs {tables.time(cost.seconds_per_token)} of that work a token."
    )
    return measured, machine, cost


def switches(display: Display, folder: Path, model: Model) -> tuple[tuple[SwitchResult, ...], int]:
    """Turn the three switches on one after the other, then as the user chooses."""
    with SwitchBench(folder, model.ingot.tokenizer) as bench:
        display.line(
            f"{USERS} users each send {PROMPT_TOKENS} tokens and want {ANSWER_TOKENS}. The model's "
            f"{tables.number(bench.parameters)} weights are random, "
            "and cost as much as trained ones."
        )
        if not bench.can_quantize:
            display.line("Quantization needs the C++ core, which was not built here.")
        measured = tuple(bench.measure_in_turn())
        display.show(tables.switches(measured))
        while display.prompter.confirm("  Set the switches yourself?"):
            position = Switches(
                caching=display.prompter.confirm("  caching on?"),
                quantization=bench.can_quantize and display.prompter.confirm("  quantization on?"),
                batching=display.prompter.confirm("  batching on?"),
            )
            display.show(tables.switches([measured[0], bench.measure(position)]))
        return measured, bench.parameters


def _bar(loss: float) -> str:
    return "█" * round(6 * loss)
