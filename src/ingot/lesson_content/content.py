"""The lesson's text and questions, read from ``content.toml``."""

from __future__ import annotations

import tomllib
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


class Section(_Strict):
    """One part of the lesson: a text, an experiment, and a text about its result."""

    id: str
    title: str
    text: _Texts
    """Paragraphs shown before the experiment."""
    after: _Texts
    """Paragraphs shown after it."""
    more: tuple[str, ...] = ()
    """Paragraphs for those who want to know more, folded away at first."""


class Question(_Strict):
    """A practice question; the evidence for its answer is measured, not written here."""

    id: str
    ask: str
    choices: _Texts
    answer: str
    why: str

    @model_validator(mode="after")
    def _answer_is_a_choice(self) -> Question:
        if self.answer not in self.choices:
            raise ValueError(f"{self.answer!r} is not one of the choices")
        return self


class Content(_Strict):
    """The whole lesson."""

    title: str
    minutes: int
    intro: str
    one_weight: OneWeight
    frozen_weight: FrozenWeightExample
    sections: Annotated[tuple[Section, ...], Field(min_length=1)]
    questions: Annotated[tuple[Question, ...], Field(min_length=1)]

    def section(self, section_id: str) -> Section:
        """Return a section by its id."""
        return next(section for section in self.sections if section.id == section_id)


def read_content() -> Content:
    """Return the lesson that comes with Ingot."""
    return Content.model_validate(read_content_tables())


def read_content_tables() -> dict[str, Any]:
    """Return the lesson as plain tables, with exact numbers as text."""
    text = (files(__package__) / "content.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)
