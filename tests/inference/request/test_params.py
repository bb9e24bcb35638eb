from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest

from ingot.errors import UsageError
from ingot.inference import Grammar, RequestOptions, SamplingParams
from ingot.inference.request.grammar import GrammarState

NAN, INF = math.nan, math.inf


class AnyText(Grammar):
    def start(self) -> GrammarState:
        raise NotImplementedError


COUNT = 1 << 31
REFUSED: dict[str, list[Any]] = {
    "max_tokens": [0, -1, COUNT, 10**400, True, 1.0, "1", None, NAN],
    "temperature": [-0.1, 10.1, NAN, INF, -INF, 10**400, True, "1", None, 1j],
    "top_p": [0, 0.0, -0.1, 1.1, NAN, INF, 10**400, True, "1", None],
    "top_k": [-1, COUNT, 10**400, True, 1.0, "1", None, NAN],
    "min_p": [-0.1, 1.1, NAN, INF, 10**400, True, "1", None],
    "seed": [-(1 << 63) - 1, 1 << 64, 10**400, True, 1.0, "1", NAN],
    "stop": [None, "a", ["a"], ("",), ("a" * 1001,), (1,), (b"a",), ("a",) * 17],
    "ignore_eos": [0, 1, None, "true"],
    "min_tokens": [-1, 257, COUNT, 10**400, True, 1.0, "1", None, NAN],
    "include_stop_str_in_output": [0, 1, None, "true"],
    "allowed_token_ids": [(), [1], (-1,), (COUNT,), (True,), ("1",), (1,) * 8193],
    "bad_words": [None, "a", ["a"], ("",), ("a" * 257,), (1,), ("a",) * 65],
    "logprobs": [-1, 21, 10**400, True, 1.0, "1", NAN],
    "prompt_logprobs": [-1, 21, 10**400, True, 1.0, "1", NAN],
    "typical_p": [0, 0.0, -0.1, 1.1, NAN, INF, 10**400, True, "1", None],
    "repetition_penalty": [0, 0.09, 10.1, -1.0, NAN, INF, True, "1", None],
    "presence_penalty": [-2.1, 2.1, NAN, INF, 10**400, True, "1", None],
    "frequency_penalty": [-2.1, 2.1, NAN, INF, 10**400, True, "1", None],
    "logit_bias": [
        None,
        {1: 2.0},
        ((1, 101.0),),
        ((1, NAN),),
        ((-1, 0.0),),
        ((True, 0.0),),
        ((1.0, 0.0),),
        (("1", 0.0),),
        ((1,),),
        ((1, 2.0), (1, 2.0)),
        ([1, 2.0],),
        tuple((token, 0.0) for token in range(1025)),
    ],
    "stop_token_ids": [None, 1, [1], (-1,), (True,), (1.0,), ("1",), (10**400,), (1,) * 17],
    "grammar": ["a*", 1, object()],
}
TAKEN: dict[str, list[Any]] = {
    "max_tokens": [1, COUNT - 1],
    "temperature": [0, 0.0, 5e-324, 1, 10],
    "top_p": [5e-324, 1, 1.0],
    "top_k": [0, COUNT - 1],
    "min_p": [0, 1, 1.0],
    "seed": [None, -(1 << 63), 0, (1 << 64) - 1],
    "stop": [(), ("a" * 1000,) * 16],
    "ignore_eos": [True, False],
    "min_tokens": [0, 256],
    "include_stop_str_in_output": [True, False],
    "allowed_token_ids": [None, (0,), (COUNT - 1,) * 8192],
    "bad_words": [(), ("a" * 256,) * 64],
    "logprobs": [None, 0, 20],
    "prompt_logprobs": [None, 0, 20],
    "typical_p": [5e-324, 1, 1.0],
    "repetition_penalty": [0.1, 1, 10],
    "presence_penalty": [-2, 0, 2.0],
    "frequency_penalty": [-2, 0, 2.0],
    "logit_bias": [(), ((0, -100), (COUNT - 1, 100.0))],
    "stop_token_ids": [(), (0,) * 16],
    "grammar": [None, AnyText()],
}


def cases(table: dict[str, list[Any]]) -> list[Any]:
    return [(field, value) for field, values in table.items() for value in values]


def test_every_field_is_covered() -> None:
    names = {field.name for field in dataclasses.fields(SamplingParams)}
    assert names == REFUSED.keys() == TAKEN.keys()


@pytest.mark.parametrize(("field", "value"), cases(REFUSED), ids=lambda case: str(case)[:20])
def test_a_bad_value_is_refused_by_name(field: str, value: Any) -> None:
    with pytest.raises(UsageError) as caught:
        SamplingParams(**{field: value})
    assert caught.value.where == field
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(("field", "value"), cases(TAKEN), ids=lambda case: str(case)[:20])
def test_the_ends_of_each_range_are_taken(field: str, value: Any) -> None:
    SamplingParams(**{field: value})


def test_no_tokens_are_asked_for_only_with_scores_of_the_prompt() -> None:
    SamplingParams(max_tokens=0, prompt_logprobs=0)
    with pytest.raises(UsageError, match="max_tokens: "):
        SamplingParams(max_tokens=-1, prompt_logprobs=0)


def test_a_grammar_ends_the_answer_itself() -> None:
    with pytest.raises(UsageError, match="ignore_eos: cannot be combined with a grammar"):
        SamplingParams(grammar=AnyText(), ignore_eos=True)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[("timeout_s", value) for value in (0, -1.0, 86_401, NAN, INF, True, "1")],
        *[("priority", value) for value in (1.0, True, 1 << 31, -(1 << 31) - 1, None, "1")],
        *[("cache_salt", value) for value in ("a" * 257, None, 1)],
        *[("tenant", value) for value in ("a" * 257, None, 1)],
    ],
)
def test_bad_options_are_refused_by_name(field: str, value: Any) -> None:
    with pytest.raises(UsageError) as caught:
        RequestOptions(**{field: value})
    assert caught.value.where == field


def test_the_ends_of_the_ranges_of_options_are_taken() -> None:
    RequestOptions(timeout_s=5e-324, priority=-(1 << 31), cache_salt="", tenant="a" * 256)
    RequestOptions(timeout_s=86_400, priority=(1 << 31) - 1, cache_salt="a" * 256)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(UsageError, match="temprature"):
        SamplingParams(temprature=1.0)  # type: ignore[call-arg]
