from __future__ import annotations

import re
from fractions import Fraction

from ingot.lesson_content import read_content


def test_the_lesson_has_its_sections_and_six_questions() -> None:
    content = read_content()
    assert [section.id for section in content.sections] == [
        "one-weight",
        "frozen-weight",
        "full-size",
        "side-by-side",
        "system-design",
    ]
    assert len(content.questions) == 6
    assert content.one_weight.rate == Fraction(1, 10)


def test_its_words_hold_no_measured_figure() -> None:
    content = read_content()
    words = [text for section in content.sections for text in (*section.text, *section.after)]
    words += [question.why for question in content.questions]
    units = re.compile(r"\d\s*(%|ms|s|kB|MB|GB|FLOP|tokens|times)\b")
    assert not [text for text in words if units.search(text)]
