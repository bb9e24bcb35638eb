"""The whole lesson, as a learner takes it."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from ingot.lesson.terminal.run_lesson import run_lesson
from ingot.lesson_content import read_content, record_path
from ingot.server.page.lesson_routes import read_record


def keystrokes() -> str:
    """Go through everything: own numbers that diverge, own switches, the first answer wrong."""
    right = []
    for question in read_content().questions:
        right.append("abc"[question.choices.index(question.answer)])
    wrong = "b" if right[0] != "b" else "a"
    lines = [
        "",  # to the first section
        *("y", "0", "5/2", "nonsense", "1.5", "99", "4", "n"),  # start, rate (twice asked), steps
        "y",  # know more
        "",  # to the frozen weight
        "",  # an attempt to write it
        "",  # to full size
        "",  # one more update
        "",  # the sealed model
        "",  # side by side
        "",  # system design
        *("y", "y", "n", "y", "n"),
        "",  # the questions
        wrong,
        *right[1:],
    ]
    return "\n".join(lines) + "\n"


def test_a_learner_goes_all_the_way(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr("sys.stdin", io.StringIO(keystrokes()))
    shown = io.StringIO()
    record = run_lesson(Console(file=shown, width=100), interactive=True, updates=3)
    text = shown.getvalue()
    times = "\N{MULTIPLICATION SIGN}"
    for expected in (
        *("0.8", "1.04", "1.232", "SIGSEGV", "read-only", "it runs away"),
        f"Frozen after 3 steps: 1.232 {times} 2 = 2.464",  # the weight that was just learned
        "Still 1.536 short of 4. Train longer:",
        f"Frozen after 60 steps: ≈2 {times} 2 = ≈4",
        f"Another frozen model: 0.25 {times} 2 = 0.5",
        "The weight is still 1.232, and the answer 2.464.",
    ):
        assert expected in text, expected
    assert "give a whole number from 1 to" in text
    assert "Your score: 5 of 6." in text
    assert set(record.evidence) == {question.id for question in read_content().questions}
    for measurement in record.evidence.values():
        assert measurement[:40] in text
    kept = read_record(record_path())
    assert kept == json.loads(record.to_json())
