"""The experiments with a real model, in a terminal."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rich.progress import BarColumn, Progress, TextColumn

from ingot.api.inference import Model
from ingot.api.training import Callbacks
from ingot.artifact import verify
from ingot.lesson.experiments.full_size import Asked, Update, ask_sealed, show_update
from ingot.lesson.experiments.large_model import LLAMA_3_8B
from ingot.lesson.experiments.phases import Phases, measure_phases
from ingot.lesson.experiments.small_model import PROMPT, Classroom, train_model
from ingot.lesson.experiments.switches import (
    ANSWER_TOKENS,
    PROMPT_TOKENS,
    USERS,
    Measured,
    Switches,
    Workbench,
)
from ingot.lesson.report import tables
from ingot.lesson.report.record import LargeModelCost, Machine
from ingot.lesson.terminal.stage import Stage
from ingot.training.monitoring.events import Event, Stepped

_QUESTIONS = 20
_REPORTS = 5  # lines about the run where no bar can be drawn


@dataclass(frozen=True)
class Trained:
    """The lesson's model after its training, and one more update shown in slow motion."""

    room: Classroom
    first_loss: float
    update: Update


def train(stage: Stage, folder: Path, updates: int) -> Trained:
    """Train the real model, then show one update token by token."""
    losses: list[float] = []
    with Progress(
        TextColumn("  {task.description}"), BarColumn(), console=stage.console, transient=True
    ) as bar:
        task = bar.add_task("training", total=1.0)

        def watch(event: Event) -> None:
            if isinstance(event, Stepped):
                losses.append(event.loss)
                bar.update(task, completed=event.progress, description=f"loss {event.loss:.2f}")

        room = train_model(folder, Callbacks(on_event=watch), updates=updates)
    result = room.result
    stage.line(
        f"{result.steps} updates in {result.seconds:.1f} s over {result.tokens:,} tokens. "
        "The loss on the way:"
    )
    for place in sorted(
        {round(part * (len(losses) - 1) / _REPORTS) for part in range(_REPORTS + 1)}
    ):
        stage.line(f"  update {place + 1:>4}   loss {losses[place]:.3f}   {_bar(losses[place])}")
    shown = show_update(room.run)
    stage.asker.pause("one more update, token by token")
    stage.line(f"The model has read: {shown.context!r}")
    stage.show(tables.update(shown))
    stage.line(
        f"Loss {shown.loss_before:.3f} before the update, {shown.loss_after:.3f} after. "
        f"{shown.changed:,} of {shown.weights:,} weights changed;"
    )
    stage.line(f"digest {shown.digest_before[:16]}… became {shown.digest_after[:16]}….")
    return Trained(room, losses[0], shown)


def ask(stage: Stage, ingot: Path, model: Model) -> Asked:
    """Show the seal, ask the sealed model, and try to write its weights."""
    manifest = verify(ingot)
    stage.asker.pause("the sealed model")
    stage.line(
        f"Sealed: {len(manifest.tensors)} tensors under one digest, {manifest.digest[:16]}…, "
        "mapped read-only."
    )
    asked = ask_sealed(model, PROMPT, questions=_QUESTIONS)
    likeliest = ", ".join(f"{token!r} {share:.0%}" for token, share in asked.likeliest)
    stage.line(f"Asked to go on from {asked.prompt!r}, it holds likeliest: {likeliest}.")
    stage.line("It answers:")
    stage.line(asked.prompt + asked.answer, style="dark_orange")
    same = asked.digest_before == asked.digest_after
    stage.line(
        f"After {asked.questions} answers the digest over its weights is "
        f"{'the same' if same else 'another'}: {asked.digest_after[:16]}…; {asked.intact} of "
        f"{asked.tensors} tensors in memory are what was sealed."
    )
    stage.line("A write to a mapped weight:")
    stage.line(asked.refusal, style="red")
    return asked


def side_by_side(
    stage: Stage, room: Classroom, model: Model
) -> tuple[Phases, Machine, LargeModelCost]:
    """Measure both phases and say what a large model would take here."""
    measured = measure_phases(room.run, model)
    stage.show(tables.phases(measured))
    flops = room.machine.matmul_flops
    machine = Machine(room.machine.name, room.machine.cores, flops)
    cost = LargeModelCost(
        LLAMA_3_8B.name, LLAMA_3_8B.training_years(flops), LLAMA_3_8B.seconds_per_token(flops)
    )
    stage.line(
        f"This machine multiplies matrices at {tables.number(flops)}FLOP/s (measured). Trained as "
        f"published, {cost.name} would keep it busy for {cost.training_years:,.0f} years; "
        f"serving it costs {tables.time(cost.seconds_per_token)} of that work a token."
    )
    return measured, machine, cost


def switches(stage: Stage, folder: Path, model: Model) -> tuple[tuple[Measured, ...], int]:
    """Turn the three switches on one after the other, then as the learner wants."""
    with Workbench(folder, model.ingot.tokenizer) as bench:
        stage.line(
            f"{USERS} users each send {PROMPT_TOKENS} tokens and want {ANSWER_TOKENS}. The model's "
            f"{tables.number(bench.parameters)} weights are random, "
            "and cost as much as trained ones."
        )
        if not bench.can_quantize:
            stage.line("Quantization needs the C++ core, which was not built here.")
        measured = tuple(bench.measure_in_turn())
        stage.show(tables.switches(measured))
        while stage.asker.agrees("  Set the switches yourself?"):
            position = Switches(
                caching=stage.asker.agrees("  caching on?"),
                quantization=bench.can_quantize and stage.asker.agrees("  quantization on?"),
                batching=stage.asker.agrees("  batching on?"),
            )
            stage.show(tables.switches([measured[0], bench.measure(position)]))
        return measured, bench.parameters


def _bar(loss: float) -> str:
    return "█" * round(6 * loss)
