"""The lesson's text and questions, read from ``content.toml``."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from fractions import Fraction
from importlib.resources import files
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

_Exact = Annotated[Fraction, BeforeValidator(Fraction)]
_Texts = Annotated[tuple[str, ...], Field(min_length=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


class OneWeight(_Strict):
    """Initial values of the experiment with one weight."""

    start: _Exact
    rate: _Exact
    input: _Exact
    target: _Exact
    steps: int
    long_steps: int
    """Steps after which the error is too small to see."""
    most_steps: int
    """Most steps that a reader may ask for."""


class FrozenWeightExample(_Strict):
    """Values of the experiment with frozen weights; the first ones are those just learned."""

    other: _Exact
    """A weight that was not trained for the target."""


class SystemDesign(_Strict):
    """Loads and proposed objectives of the experiment with the switches."""

    users: int
    """Users who ask at once, unless the reader sets another number."""
    most_users: int
    loads: Annotated[tuple[int, ...], Field(min_length=1)]
    """Users who ask at once, as the load grows with every switch on."""
    answers_waited: Annotated[float, Field(gt=0)]
    """The first token is to come within the time of so many answers to one user alone."""
    gaps_waited: Annotated[float, Field(gt=0)]
    """A token is to follow within so many times the time that it takes for one user alone."""
    price_per_hour: Annotated[float, Field(gt=0)]
    """Price of the machine that the cost is told for, unless the reader sets another one."""

    @model_validator(mode="after")
    def _loads_are_possible(self) -> SystemDesign:
        if max(self.users, *self.loads) > self.most_users:
            raise ValueError("a load has more than most_users")
        return self


class GuardrailExample(_Strict):
    """One prompt, and what is set up around the model that answers it."""

    prompt: str
    system: str
    """The system prompt: put before the prompt."""
    allowed: _Texts
    """The answers that the rule, and the grammar, allow."""
    stop: _Texts
    """The stop list."""


class Section(_Strict):
    """One screen of the lesson: a text, an experiment, and a text about its result."""

    id: str
    title: str
    question: str | None = None
    """Id of the question that is asked before the experiment, whose result answers it."""
    text: _Texts
    """Paragraphs shown before the experiment; terms that they explain stand in brackets."""
    try_it: tuple[str, ...] = ()
    """Paragraphs for a reader who can act on the experiment."""
    after: _Texts
    """Paragraphs shown after it."""
    more: tuple[str, ...] = ()
    """Paragraphs for those who want to know more, folded away at first."""


class Term(_Strict):
    """A term of the field, explained where it first stands and in the glossary."""

    name: str
    forms: tuple[str, ...] = ()
    """Other forms of the word, such as the plural."""
    text: str


class Score(_Strict):
    """The screen after the last question."""

    title: str
    text: _Texts


class Question(_Strict):
    """A practice question; the evidence for its answer is measured, not written here."""

    id: str
    ask: str
    choices: _Texts
    answer: str
    why: str
    wrong: dict[str, str]
    """For each other choice, why it is wrong."""

    @model_validator(mode="after")
    def _answer_is_a_choice(self) -> Question:
        if self.answer not in self.choices:
            raise ValueError(f"{self.answer!r} is not one of the choices")
        if {*self.wrong, self.answer} != {*self.choices}:
            raise ValueError("not every wrong choice is explained")
        return self


class Content(_Strict):
    """The whole lesson."""

    title: str
    minutes: int
    intro: str
    certificate: str
    """A line with ``right``, ``total``, ``date`` and ``digest`` in braces."""
    score: Score
    one_weight: OneWeight
    frozen_weight: FrozenWeightExample
    system_design: SystemDesign
    guardrails: GuardrailExample
    sections: Annotated[tuple[Section, ...], Field(min_length=1)]
    """In order; the last one follows the score."""
    terms: Annotated[tuple[Term, ...], Field(min_length=1)]
    questions: Annotated[tuple[Question, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _refers_to_what_is_there(self) -> Content:
        asked = [section.question for section in self.sections if section.question]
        if asked != [question.id for question in self.questions]:
            raise ValueError("the questions are not those of the sections, in their order")
        explained = [self.term(form).name for section in self.sections for form in marked(section)]
        if sorted(explained) != sorted(term.name for term in self.terms):
            raise ValueError("not every term is marked once")
        return self

    def section(self, section_id: str) -> Section:
        """Return a section by its id."""
        return next(section for section in self.sections if section.id == section_id)

    def question(self, question_id: str) -> Question:
        """Return a question by its id."""
        return next(question for question in self.questions if question.id == question_id)

    def term(self, form: str) -> Term:
        """Return a term by one of its forms, in upper or lower case.

        Raises:
            ValueError: the glossary does not have it.
        """
        for term in self.terms:
            if form.lower() in {each.lower() for each in (term.name, *term.forms)}:
                return term
        raise ValueError(f"{form!r} is not in the glossary")


_MARKED = re.compile(r"\[([^\]]+)\]")


def marked(section: Section) -> Iterator[str]:
    """Yield the terms that a section explains, in the form in which they stand there."""
    for paragraph in (*section.text, *section.after):
        yield from terms_in(paragraph)


def terms_in(paragraph: str) -> list[str]:
    """Return the terms that a paragraph explains."""
    return _MARKED.findall(paragraph)


def without_marks(paragraph: str) -> str:
    """Return a paragraph without the brackets around its terms."""
    return _MARKED.sub(r"\1", paragraph)


def read_content() -> Content:
    """Return the lesson that comes with Ingot."""
    return Content.model_validate(read_content_tables())


def read_content_tables() -> dict[str, Any]:
    """Return the lesson as plain tables, with exact numbers as text."""
    text = (files(__package__) / "content.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)
