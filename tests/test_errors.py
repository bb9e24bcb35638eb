from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from ingot.errors import ArtifactError, InvalidField, from_validation, invalid_field, nearest


class Message(BaseModel):
    role: Literal["user", "system"] = "user"


class Request(BaseModel):
    model_config = ConfigDict(extra="forbid")

    temperature: float = Field(1.0, ge=0, le=2)
    rate: float = Field(1.0, gt=0, lt=1.5, allow_inf_nan=False)
    top_k: int = 0
    name: str = Field("a", min_length=1, max_length=5)
    stop: Annotated[str, Field(max_length=3)] | list[int] = ""
    messages: list[Message] = []
    even: int = 0

    @field_validator("even")
    @classmethod
    def _even(cls, even: int) -> int:
        if even % 2:
            raise ValueError("it must be even")
        return even


class Needed(BaseModel):
    model_config = ConfigDict(extra="forbid")

    prompt: str


def refusal(values: object, model: type[BaseModel] = Request) -> ValidationError:
    with pytest.raises(ValidationError) as caught:
        model.model_validate(values)
    return caught.value


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"temperature": 7}, "temperature must be at most 2, got 7; lower it"),
        ({"temperature": -0.5}, "temperature must be at least 0, got -0.5; raise it"),
        ({"rate": 0}, "rate must be more than 0, got 0; raise it"),
        ({"rate": 1.5}, "rate must be less than 1.5, got 1.5; lower it"),
        ({"rate": float("nan")}, "rate must be a finite number, got NaN; correct it"),
        ({"top_k": "many"}, 'top_k must be a valid integer, got "many"; correct it'),
        ({"top_k": 1.5}, "top_k must be a valid integer, got 1.5; correct it"),
        ({"top_k": None}, "top_k must be a valid integer, got null; correct it"),
        ({"top_k": [1]}, "top_k must be a valid integer; correct it"),
        ({"name": "abcdef"}, 'name must have at most 5 characters, got "abcdef"; correct it'),
        ({"name": ""}, 'name must have at least 1 character, got ""; correct it'),
        ({"even": 3}, "even: it must be even, got 3; correct it"),
        (
            {"messages": [{}, {"role": "robot"}]},
            "messages[1].role must be 'user' or 'system', got \"robot\"; correct it",
        ),
        ({"unheard": 1}, 'unknown field "unheard"; remove it'),
    ],
)
def test_a_refusal_names_the_field_the_bound_the_value_and_the_fix(
    values: dict[str, Any], said: str
) -> None:
    assert str(from_validation(ArtifactError, refusal(values))) == said


def test_where_and_what_go_first_and_a_fix_of_the_caller_wins() -> None:
    error = refusal({"top_k": "x"})
    made = from_validation(
        ArtifactError, error, where="a.json", what="is damaged", fix="fetch it again"
    )
    assert type(made) is ArtifactError
    assert str(made) == (
        'a.json: is damaged (top_k must be a valid integer, got "x"); fetch it again'
    )


def test_an_unknown_field_goes_before_the_one_that_it_may_be() -> None:
    error = refusal({"promt": "x"}, Needed)
    found = invalid_field(error, noun="setting", known=Needed.model_fields)
    assert found == InvalidField(
        "promt", "extra_forbidden", 'unknown setting "promt"', 'did you mean "prompt"?'
    )
    assert str(from_validation(ArtifactError, refusal({}, Needed))) == "prompt is missing; add it"


def test_tags_of_a_union_are_left_out_but_a_field_of_that_name_is_not() -> None:
    hidden = {"constrained-str", "top_k"}
    assert invalid_field(refusal({"stop": "long"}), hidden=hidden).path == "stop"
    assert invalid_field(refusal({"top_k": "x"}), hidden=hidden).path == "top_k"


@pytest.mark.parametrize(
    "value", ["s" * 41, "a\nb", 10**5000, -(10**18), {"a": 1}, b"x"], ids=lambda v: str(type(v))
)
def test_a_value_that_is_long_or_not_plain_is_not_repeated(value: object) -> None:
    said = str(from_validation(ArtifactError, refusal({"messages": value})))
    assert said == "messages must be a valid list; correct it"


def test_a_value_near_secrets_is_not_repeated() -> None:
    error = refusal({"top_k": "sk-secret"})
    assert "sk-secret" not in str(from_validation(ArtifactError, error, show_input=False))


def test_an_error_stays_short_however_long_the_field() -> None:
    said = str(from_validation(ArtifactError, refusal({"x" * 100_000: 1})))
    assert len(said) < 120


@pytest.mark.parametrize(
    ("name", "known", "best"),
    [
        ("promt", ["prompt", "model"], "prompt"),
        ("batch.muon_lr", ["batch.context", "optimizer.muon_lr"], "optimizer.muon_lr"),
        ("zzz", ["prompt"], None),
        ("prompt", [], None),
    ],
)
def test_the_nearest_name(name: str, known: list[str], best: str | None) -> None:
    assert nearest(name, known) == best


def test_control_characters_are_escaped() -> None:
    """A name from a hostile file must not reach a terminal as it is."""
    error = ArtifactError("has \x1b[2Jan \x00 unknown\u202e tensor", where="a\n\x7f.json")
    assert str(error) == r"a \x7f.json: has \x1b[2Jan \x00 unknown\u202e tensor"
    assert str(ArtifactError("half \ud800 pair ☃")) == r"half \ud800 pair ☃"
