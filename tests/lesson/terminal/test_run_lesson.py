"""The whole lesson, as a learner takes it."""

from __future__ import annotations

import dataclasses
import io
import json
import re
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from ingot.lesson.experiments import switches
from ingot.lesson.report.record import Record
from ingot.lesson.terminal.run_lesson import run_lesson
from ingot.lesson_content import read_content, record_path
from ingot.server.page.lesson_routes import read_record
from tests.lesson.terminal.terminal import Terminal

TIMES = "\N{MULTIPLICATION SIGN}"
LESSON = (
    "import dataclasses;"
    "from rich.console import Console;"
    "from ingot.lesson.experiments import switches;"
    "wide = switches._wide;"  # one layer: what is shown is the same
    "switches._wide = lambda size: dataclasses.replace(wide(size), num_hidden_layers=1);"
    "from ingot.lesson.terminal.run_lesson import run_lesson;"
    "run_lesson(Console(), interactive=True, updates=3)"
)
WRONG = "updates"
"""The question that the learner gets wrong."""


def go_all_the_way(terminal: Terminal) -> None:
    """Own numbers that diverge, the glossary, a wrong answer, own switches."""
    content = read_content()
    for number, section in enumerate(content.sections):
        if number == 1:
            terminal.answer("glossary)", "?")
        terminal.answer("glossary)", "")
        if section.question:
            question = content.question(section.question)
            wrong = next(choice for choice in question.choices if choice != question.answer)
            choice = wrong if question.id == WRONG else question.answer
            terminal.answer("your answer, a to c", "abc"[question.choices.index(choice)])
        if section.id == "one-weight":
            terminal.answer("Try numbers of your own?", "y")
            for prompt, line in (
                *(("start (0.5)", "0"), ("rate (0.1)", "5/2"), ("steps (3)", "nonsense")),
                *(("whole number from 1 to", "99"), ("whole number from 1 to", "4")),
            ):
                terminal.answer(prompt, line)
            terminal.answer("Try numbers of your own?", "n")
            terminal.answer("Know more", "y")
        if section.id == "system-design":
            own = "Set the objective and the load yourself?"
            terminal.answer(own, "y")
            for prompt, line in (
                *(("first token within (ms)", "0"), ("then a token every (ms)", "5000")),
                ("users at once (8)", "2"),
            ):
                terminal.answer(prompt, line)
            terminal.answer(own, "y")
            for prompt, line in (
                *(("first token within (ms)", "60000"), ("then a token every (ms)", "5000")),
                *(("users at once (8)", "99"), ("whole number from 1 to 32", "3")),
            ):
                terminal.answer(prompt, line)
            terminal.answer(own, "n")


def test_a_learner_goes_all_the_way_in_a_terminal(tmp_path: Path) -> None:
    with Terminal([sys.executable, "-c", LESSON], {"XDG_STATE_HOME": str(tmp_path)}) as terminal:
        go_all_the_way(terminal)
        assert terminal.finish() == 0, terminal.text[-3000:]
        text = terminal.text
    kept = json.loads((tmp_path / "ingot" / "lesson.json").read_text())
    one_line = " ".join(text.split())
    content = read_content()
    for expected in (
        *("0.8", "1.04", "1.232", "SIGSEGV", "read-only", "it runs away"),
        f"Frozen after 3 steps: 1.232 {TIMES} 2 = 2.464",  # the weight that was just learned
        "Still 1.536 short of 4. Train longer:",
        f"Frozen after 60 steps: ≈2 {TIMES} 2 = ≈4",
        f"Another frozen model: 0.25 {TIMES} 2 = 0.5",
        "The weight is still 1.232, and the answer 2.464.",
        "5 of 6 answers right.",
        content.question(WRONG).wrong["inference"],
        "Only the grammar holds every time",
        "The first token may take from 1 ms to an hour",  # no time is zero
        "3 of 3",  # by an objective that every answer keeps
        *(
            f"{number} of {len(content.sections)} {each.title}"
            for number, each in enumerate(content.sections, 1)
        ),
    ):
        assert expected in one_line, expected
    for question in content.questions:  # asked before it is measured
        asked = one_line.index(f"Question: {question.ask}")
        assert asked < one_line.index(f"Measured: {kept['evidence'][question.id][:30]}")
    for term in content.terms:
        assert f"{term.name}: {term.text}" in one_line
    certificate = next(line for line in text.splitlines() if line.startswith("Ingot lesson: "))
    assert certificate == content.certificate.format(
        right=5, total=6, date=time.strftime("%Y-%m-%d"), digest=kept["phases"]["digest"]
    )
    narrow = [line for line in text.splitlines() if line != certificate and len(line.rstrip()) > 80]
    assert narrow == []


@pytest.fixture(scope="module")
def unattended(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Record]:
    """What ``ingot lesson --no-input`` shows, and its record."""
    shown = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        wide = switches._wide
        patch.setattr(
            switches, "_wide", lambda size: dataclasses.replace(wide(size), num_hidden_layers=1)
        )
        record = run_lesson(Console(file=shown, width=100), interactive=False, updates=3)
        assert read_record(record_path()) == json.loads(record.to_json())
    return shown.getvalue(), record


def test_without_input_nobody_is_addressed(unattended: tuple[str, Record]) -> None:
    text, record = unattended
    content = read_content()
    quoted = [
        record.update.context,
        record.asked.answer,
        content.guardrails.system,
        *(result.example for result in record.guardrails),
    ]
    for line in quoted:
        for part in line.splitlines():
            text = text.replace(part, "") if part.strip() else text
    addressed = re.compile(r"\b(you|your|yours|try it|enter for|score|noted)\b", re.IGNORECASE)
    assert [line for line in text.splitlines() if addressed.search(line)] == []
    assert "Glossary" in text
    assert "Ingot lesson: " not in text  # nobody earned a certificate


def test_what_was_measured_is_shown_and_kept(unattended: tuple[str, Record]) -> None:
    text, record = unattended
    assert set(record.evidence) == {question.id for question in read_content().questions}
    one_line = " ".join(text.split())
    for measurement in record.evidence.values():
        assert measurement[:40] in one_line
    loads = read_content().system_design.loads
    assert [result.load.users for result in record.loads] == list(loads)
    assert len({result.load for result in record.switches}) == 1
    assert record.switches[0].timing.in_time is not None
    assert "Every switch on, and more users at once:" in one_line
    assert set(record.others) == {"training", "phases", "users", "switches"}
    busy = any((share or 0) > record.busy_share for share in record.others.values())
    assert ("The machine was busy: other programs took" in one_line) == busy
    assert [result.allowed for result in record.guardrails][-1] == record.guardrails[-1].answers
