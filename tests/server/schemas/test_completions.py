from __future__ import annotations

import json

import pytest

from ingot.inference import SamplingParams
from ingot.server.schemas.completions import CompletionRequest


def parse(**fields: object) -> CompletionRequest:
    return CompletionRequest.model_validate_json(
        json.dumps({"model": "tiny", "prompt": "def"} | fields)
    )


def test_defaults_are_openais() -> None:
    assert parse().sampling_params(0, {}) == SamplingParams(max_tokens=16)


def test_a_models_own_defaults_give_way_to_what_is_asked() -> None:
    own = {"temperature": 0.6, "top_p": 0.9}
    assert parse().sampling_params(0, own) == SamplingParams(max_tokens=16, **own)
    asked = parse(temperature=0.2, top_p=None).sampling_params(0, own)
    assert asked == SamplingParams(max_tokens=16, temperature=0.2, top_p=0.9)


def test_every_field_reaches_the_sampler() -> None:
    request = parse(
        max_tokens=5,
        temperature=0.5,
        top_p=0.9,
        top_k=40,
        min_p=0.05,
        seed=7,
        stop=["a", "b"],
        logprobs=2,
        ignore_eos=True,
        typical_p=0.8,
        repetition_penalty=1.1,
        presence_penalty=0.5,
        frequency_penalty=-0.5,
        logit_bias={"3": 2, "5": -1.5},
        stop_token_ids=[8],
        echo=True,
    )
    assert request.sampling_params(0, {}) == SamplingParams(
        max_tokens=5,
        temperature=0.5,
        top_p=0.9,
        top_k=40,
        min_p=0.05,
        seed=7,
        stop=("a", "b"),
        logprobs=2,
        ignore_eos=True,
        typical_p=0.8,
        repetition_penalty=1.1,
        presence_penalty=0.5,
        frequency_penalty=-0.5,
        logit_bias=((3, 2.0), (5, -1.5)),
        stop_token_ids=(8,),
        prompt_logprobs=2,
    )


@pytest.mark.parametrize(
    "field", sorted(CompletionRequest.model_fields.keys() - {"model", "prompt"})
)
def test_null_is_the_default(field: str) -> None:
    given, absent = parse(**{field: None}), parse()
    assert given.sampling_params(0, {}) == absent.sampling_params(0, {})
    assert given.choices_per_prompt == absent.choices_per_prompt
    assert given.wants_usage == absent.wants_usage
    assert (given.user, given.timeout, given.cache_salt, given.priority or 0) == (
        *(absent.user, absent.timeout, absent.cache_salt),
        absent.priority or 0,
    )
    assert bool(given.stream) == bool(absent.stream)


def test_each_choice_has_a_seed_of_its_own() -> None:
    assert [parse(seed=7).sampling_params(choice, {}).seed for choice in range(3)] == [7, 8, 9]
    assert [parse(seed=-2).sampling_params(choice, {}).seed for choice in range(3)] == [
        2**64 - 2,
        2**64 - 1,
        0,
    ]
    assert parse().sampling_params(1, {}).seed is None


@pytest.mark.parametrize(
    ("prompt", "prompts"),
    [
        ("a", ["a"]),
        (["a", "b"], ["a", "b"]),
        ([1, 2], [[1, 2]]),
        ([[1], [2, 3]], [[1], [2, 3]]),
    ],
)
def test_every_form_of_prompt(prompt: object, prompts: object) -> None:
    assert parse(prompt=prompt).prompts == prompts


@pytest.mark.parametrize(("stop", "texts"), [("a", ("a",)), (["a", "b"], ("a", "b")), ([], ())])
def test_every_form_of_stop(stop: object, texts: tuple[str, ...]) -> None:
    assert parse(stop=stop).sampling_params(0, {}).stop == texts
