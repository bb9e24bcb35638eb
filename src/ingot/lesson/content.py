"""The lesson's words and questions, read from the one file that the page reads too."""

from __future__ import annotations

import tomllib
from fractions import Fraction
from importlib.resources import files
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

_Exact = Annotated[Fraction, BeforeValidator(Fraction)]
_Texts = Annotated[tuple[str, ...], Field(min_length=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


class OneWeight(_Strict):
    """What the one-weight experiment begins with."""

    start: _Exact
    rate: _Exact
    input: _Exact
    target: _Exact
    steps: int
    most_steps: int
    """Most steps a learner may ask for."""


class FrozenWeightExample(_Strict):
    """What the frozen weight is and what it is asked."""

    weight: _Exact
    input: _Exact


class Section(_Strict):
    """One part of the lesson: words, an experiment, and what it showed."""

    id: str
    title: str
    text: _Texts
    """Read before the experiment."""
    after: _Texts
    """Read after it."""


class Question(_Strict):
    """A practice question; what proves its answer is measured, not written here."""

    id: str
    ask: str
    choices: _Texts
    answer: str
    why: str

    @model_validator(mode="after")
    def _answer_is_a_choice(self) -> Question:
        if self.answer not in self.choices:
            raise ValueError(f"{self.answer!r} is none of the choices")
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
        """Return a section by its name."""
        return next(section for section in self.sections if section.id == section_id)


def read_content() -> Content:
    """Read the lesson that comes with Ingot."""
    text = (files("ingot.lesson") / "content.toml").read_text(encoding="utf-8")
    return Content.model_validate(tomllib.loads(text))
