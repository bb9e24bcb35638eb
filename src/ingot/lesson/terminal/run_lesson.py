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
from ingot.lesson.experiments.engine_load import time_answers
from ingot.lesson.experiments.evidence import collect_evidence, refused_tampering
from ingot.lesson.experiments.full_size import InferenceTrace
from ingot.lesson.experiments.small_model import UPDATES
from ingot.lesson.report.record import Record, Training
from ingot.lesson.terminal import model_sections, weight_sections
from ingot.lesson.terminal.display import Display
from ingot.lesson.terminal.prompter import DefaultPrompter, Prompter, TerminalPrompter
from ingot.lesson_content import Content, Question, read_content

_LOAD_USERS, _LOAD_TOKENS = 16, 32
_T = TypeVar("_T")


def run_lesson(console: Console, *, interactive: bool, updates: int = UPDATES) -> Record:
    """Give the whole lesson.

    Args:
        console: Where it is shown.
        interactive: Ask the user; otherwise all of it is shown without waiting.
        updates: How long the real model is trained.

    Returns:
        Everything that was measured; it is also kept for the page.

    Raises:
        UsageError: the user's input ended early.
    """
    prompter: Prompter = TerminalPrompter(console) if interactive else DefaultPrompter()
    display, content = Display(console, prompter), read_content()
    display.title(content.title)
    display.say([content.intro.strip()])
    with tempfile.TemporaryDirectory(prefix="ingot-lesson-") as folder:
        record = _sections(display, content, Path(folder), updates)
    _questions(display, content.questions, record.evidence)
    try:
        record.save()
    except (OSError, IngotError) as error:
        display.line(f"The page cannot show these figures: {error}")
    return record


def _sections(display: Display, content: Content, folder: Path, updates: int) -> Record:
    """Go through every section; return what was measured."""

    def section(name: str, experiment: Callable[[], _T]) -> _T:
        words = content.section(name)
        display.prompter.pause(f"“{words.title}”")
        display.title(words.title)
        display.say(words.text)
        display.console.print()
        result = experiment()
        display.say(words.after)
        return result

    def full_size() -> tuple[model_sections.Trained, Model, InferenceTrace]:
        trained = model_sections.train(display, folder, updates)
        model = opened.enter_context(inference.load(trained.lesson_model.ingot))
        return trained, model, model_sections.ask(display, trained.lesson_model.ingot, model)

    with contextlib.ExitStack() as opened:
        more = content.section("one-weight").more
        section("one-weight", lambda: weight_sections.one_weight(display, content.one_weight, more))
        section(
            "frozen-weight",
            lambda: weight_sections.frozen_weights(
                display, content.one_weight, content.frozen_weight
            ),
        )
        trained, model, asked = section("full-size", full_size)
        lesson_model, result = trained.lesson_model, trained.lesson_model.result
        phases, machine, cost = section(
            "side-by-side", lambda: model_sections.side_by_side(display, lesson_model, model)
        )
        measured, parameters = section(
            "system-design", lambda: model_sections.switches(display, folder, model)
        )
        start = [model.ingot.tokenizer.start_id]
        load = time_answers(model, [start] * _LOAD_USERS, tokens=_LOAD_TOKENS)
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
        evidence=collect_evidence(
            trained.update, asked, phases, load, refused_tampering(lesson_model.ingot, folder)
        ),
    )


def _questions(
    display: Display, questions: Sequence[Question], evidence: Mapping[str, str]
) -> None:
    """Ask each question, then show the measurement that answers it; end with the score."""
    display.prompter.pause("the questions")
    display.title(f"{len(questions)} questions")
    right = 0
    for number, question in enumerate(questions, 1):
        display.console.print()
        display.line(f"{number}. {question.ask}", style="bold")
        answer = display.prompter.choice(question.choices)
        if answer is None:
            display.line(f"{question.answer}: {question.why}")
        elif answer == question.answer:
            right += 1
            display.line(f"Right, {question.answer}. {question.why}", style="green")
        else:
            display.line(f"No, {question.answer}. {question.why}", style="red")
        display.line(f"Measured: {evidence[question.id]}.", style="dim")
    display.console.print()
    if display.prompter.interactive:
        display.line(f"Your score: {right} of {len(questions)}.", style="bold dark_orange")
