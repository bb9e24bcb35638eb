"""The lesson in a terminal: words, experiments that run, questions, a score."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from rich.console import Console

from ingot.api import inference
from ingot.api.inference import Model
from ingot.errors import IngotError
from ingot.lesson.experiments.evidence import gather, refused_tampering
from ingot.lesson.experiments.full_size import Asked
from ingot.lesson.experiments.load import ask
from ingot.lesson.experiments.small_model import UPDATES
from ingot.lesson.report.record import Record, Training
from ingot.lesson.terminal import model_scenes, weight_scenes
from ingot.lesson.terminal.asker import Asker, Learner, Nobody
from ingot.lesson.terminal.stage import Stage
from ingot.lesson_content import Content, Question, read_content

_CROWD, _CROWD_TOKENS = 16, 32
_T = TypeVar("_T")


def teach(console: Console, *, interactive: bool, updates: int = UPDATES) -> Record:
    """Give the whole lesson.

    Args:
        console: Where it is shown.
        interactive: Ask the learner; otherwise all is shown without waiting.
        updates: How long the real model is trained.

    Returns:
        Everything that was measured; it is also kept for the page.

    Raises:
        UsageError: the learner's input ended early.
    """
    asker: Asker = Learner(console) if interactive else Nobody()
    stage, content = Stage(console, asker), read_content()
    stage.title(content.title)
    stage.say([content.intro.strip()])
    with tempfile.TemporaryDirectory(prefix="ingot-lesson-") as folder:
        record = _sections(stage, content, Path(folder), updates)
    _questions(stage, content.questions, record.evidence)
    try:
        record.save()
    except (OSError, IngotError) as error:
        stage.line(f"The page cannot show these figures: {error}")
    return record


def _sections(stage: Stage, content: Content, folder: Path, updates: int) -> Record:
    """Go through every section; return what was measured."""

    def section(name: str, experiment: Callable[[], _T]) -> _T:
        words = content.section(name)
        stage.asker.pause(f"“{words.title}”")
        stage.title(words.title)
        stage.say(words.text)
        stage.console.print()
        result = experiment()
        stage.say(words.after)
        return result

    def full_size() -> tuple[model_scenes.Trained, Model, Asked]:
        trained = model_scenes.train(stage, folder, updates)
        model = opened.enter_context(inference.load(trained.room.ingot))
        return trained, model, model_scenes.ask(stage, trained.room.ingot, model)

    with contextlib.ExitStack() as opened:
        section("one-weight", lambda: weight_scenes.one_weight(stage, content.one_weight))
        section("frozen-weight", lambda: weight_scenes.frozen_weight(stage, content.frozen_weight))
        trained, model, asked = section("full-size", full_size)
        room, result = trained.room, trained.room.result
        phases, machine, cost = section(
            "side-by-side", lambda: model_scenes.side_by_side(stage, room, model)
        )
        measured, parameters = section(
            "system-design", lambda: model_scenes.switches(stage, folder, model)
        )
        start = [model.ingot.tokenizer.eos_id]
        crowd = ask(model, [start] * _CROWD, tokens=_CROWD_TOKENS)
    return Record(
        machine=machine,
        training=Training(
            steps=result.steps,
            tokens=result.tokens,
            seconds=result.seconds,
            first_loss=trained.first_loss,
            validation_loss=result.validation_loss,
        ),
        update=trained.update,
        asked=asked,
        phases=phases,
        large_model=cost,
        switches=measured,
        switches_parameters=parameters,
        evidence=gather(
            trained.update, asked, phases, crowd, refused_tampering(room.ingot, folder)
        ),
    )


def _questions(stage: Stage, questions: Sequence[Question], evidence: Mapping[str, str]) -> None:
    """Ask each question, then show the measurement that answers it; end with the score."""
    stage.asker.pause("the questions")
    stage.title(f"{len(questions)} questions")
    right = 0
    for number, question in enumerate(questions, 1):
        stage.console.print()
        stage.line(f"{number}. {question.ask}", style="bold")
        answer = stage.asker.choice(question.choices)
        if answer is None:
            stage.line(f"{question.answer}: {question.why}")
        elif answer == question.answer:
            right += 1
            stage.line(f"Right, {question.answer}. {question.why}", style="green")
        else:
            stage.line(f"No, {question.answer}. {question.why}", style="red")
        stage.line(f"Measured: {evidence[question.id]}.", style="dim")
    stage.console.print()
    if stage.asker.interactive:
        stage.line(f"Your score: {right} of {len(questions)}.", style="bold dark_orange")
