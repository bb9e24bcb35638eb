"""The lesson in a terminal: one idea a screen, experiments that run, questions, a score."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from ingot.errors import IngotError
from ingot.lesson.experiments.small_model import UPDATES
from ingot.lesson.report.record import Record
from ingot.lesson.terminal import weight_sections
from ingot.lesson.terminal.display import Display
from ingot.lesson.terminal.model_sections import ModelExperiments
from ingot.lesson.terminal.prompter import DefaultPrompter, Prompter, TerminalPrompter
from ingot.lesson.terminal.questions import Answers
from ingot.lesson_content import Content, read_content


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
    content = read_content()
    display = Display(console, prompter, content)
    display.title(content.title)
    display.say([content.intro.strip()])
    _contents(display)
    with (
        tempfile.TemporaryDirectory(prefix="ingot-lesson-") as folder,
        ModelExperiments(display, Path(folder), updates) as experiments,
    ):
        record = _sections(display, experiments)
    if not interactive:
        display.title("Glossary")
        display.glossary()
    try:
        record.save()
    except (OSError, IngotError) as error:
        display.line(f"The page cannot show these figures: {error}")
    return record


def _contents(display: Display) -> None:
    """List the sections and say how long they take."""
    content = display.content
    display.console.print()
    display.line(
        f"{len(content.sections)} parts, {len(content.questions)} questions, "
        f"less than {content.minutes} minutes:"
    )
    for number, section in enumerate(content.sections, 1):
        display.line(f"{number:>3}  {section.title}", style="dim")


def _sections(display: Display, experiments: ModelExperiments) -> Record:
    """Go through every section; return what was measured."""
    content, answers = display.content, Answers()
    run = _experiments(display, experiments)
    for number, section in enumerate(content.sections, 1):
        if section is content.sections[-1]:
            answers.score(display, content, experiments.digest)
        display.pause(f"part {number}")
        display.title(section.title, f"{number} of {len(content.sections)}")
        display.say(section.text)
        question = content.question(section.question) if section.question else None
        if question:
            answers.ask(display, question)
        if display.prompter.interactive:
            display.say(section.try_it)
        display.console.print()
        measured = run[section.id]()
        if question and measured:
            answers.judge(display, question, measured)
        display.say(section.after)
    return experiments.record(answers.evidence)


def _experiments(
    display: Display, experiments: ModelExperiments
) -> dict[str, Callable[[], str | None]]:
    """Return each section's experiment; those that answer a question return the evidence."""
    content: Content = display.content
    given, more = content.one_weight, content.section("one-weight").more
    return {
        "one-weight": lambda: weight_sections.one_weight(display, given, more),
        "frozen-weight": lambda: weight_sections.frozen_weights(
            display, given, content.frozen_weight
        ),
        "sealed-memory": lambda: weight_sections.sealed_weight(display, given),
        "language-model": experiments.train,
        "one-update": experiments.one_update,
        "sealed-model": experiments.seal,
        "side-by-side": experiments.needs,
        "users": experiments.serve_users,
        "cache": experiments.fill_cache,
        "system-design": experiments.design,
        "guardrails": experiments.guard,
    }
