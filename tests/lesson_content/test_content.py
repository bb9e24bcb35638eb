from __future__ import annotations

import re
from fractions import Fraction

import pytest

from ingot.lesson_content import (
    Content,
    Section,
    read_content,
    read_content_tables,
    terms_in,
    without_marks,
)

_WORDS_PER_MINUTE = 200  # a careful reader


def paragraphs(section: Section) -> list[str]:
    return [*section.text, *section.try_it, *section.after]


def test_the_lesson_has_its_sections_and_six_questions() -> None:
    content = read_content()
    assert [section.id for section in content.sections] == [
        "one-weight",
        "frozen-weight",
        "sealed-memory",
        "language-model",
        "one-update",
        "sealed-model",
        "side-by-side",
        "users",
        "cache",
        "system-design",
        "guardrails",
    ]
    assert len(content.questions) == 6
    assert content.one_weight.rate == Fraction(1, 10)


def test_its_words_hold_no_measured_figure() -> None:
    content = read_content()
    words = [text for section in content.sections for text in paragraphs(section)]
    words += [question.why for question in content.questions]
    words += [text for question in content.questions for text in question.wrong.values()]
    units = re.compile(r"\d\s*(%|ms|s|kB|MB|GB|FLOP|tokens|times)\b")
    assert not [text for text in words if units.search(text)]


def test_no_term_is_used_before_it_is_explained() -> None:
    content = read_content()
    told = [content.intro, *(text for each in content.sections for text in paragraphs(each))]
    for term in content.terms:
        if term.name in ("error", "rate"):
            continue  # plain words, too
        flags = 0 if term.name == "ingot" else re.IGNORECASE  # Ingot is the program
        use = re.compile(rf"\b({'|'.join(map(re.escape, (term.name, *term.forms)))})\b", flags)
        first = next(text for text in told if use.search(without_marks(text)))
        assert term.name in {content.term(form).name for form in terms_in(first)}, first


@pytest.mark.parametrize("name", ["token", "nat", "digest", "FLOP", "cache", "batch"])
def test_the_terms_that_beginners_miss_are_in_the_glossary(name: str) -> None:
    assert len(read_content().term(name).text) > 20


def test_it_is_read_in_time() -> None:
    """Reading takes most of the lesson; a minute is left for measurements and answers each."""
    content = read_content()
    text = [content.intro, *(text for each in content.sections for text in paragraphs(each))]
    text += [term.text for term in content.terms]
    for question in content.questions:
        text += [question.ask, question.why, *question.choices]
    words = sum(len(each.split()) for each in text)
    assert words / _WORDS_PER_MINUTE < content.minutes - 2


def broken(change: str) -> dict[str, object]:
    tables = read_content_tables()
    if change == "a wrong choice is not explained":
        del tables["questions"][0]["wrong"]["both"]
    elif change == "an answer is no choice":
        tables["questions"][0]["answer"] = "neither"
    elif change == "a term is not marked":
        tables["terms"].append({"name": "kernel", "text": "A function."})
    elif change == "a mark has no term":
        tables["sections"][0]["text"].append("A [kernel] runs.")
    elif change == "a question is not asked":
        del tables["sections"][4]["question"]
    return tables


@pytest.mark.parametrize(
    "change",
    [
        "a wrong choice is not explained",
        "an answer is no choice",
        "a term is not marked",
        "a mark has no term",
        "a question is not asked",
    ],
)
def test_content_that_does_not_fit_together_is_refused(change: str) -> None:
    with pytest.raises(ValueError, match=r"explained|choices|marked|glossary|questions"):
        Content.model_validate(broken(change))
