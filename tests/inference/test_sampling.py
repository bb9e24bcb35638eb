from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ingot.errors import ServeError, UsageError
from ingot.inference import SamplingParams, validate
from ingot.inference.executors.base import SamplingRow
from ingot.inference.sampling import draw

NAN, INF = math.nan, math.inf
COUNT = 1 << 31
REFUSED: dict[str, list[Any]] = {
    "max_tokens": [0, -1, COUNT, 10**400, True, 1.0, "1", None, NAN],
    "temperature": [-0.1, 10.1, NAN, INF, -INF, 10**400, True, "1", None, 1j],
    "top_p": [0, 0.0, -0.1, 1.1, NAN, INF, 10**400, True, "1", None],
    "top_k": [-1, COUNT, 10**400, True, 1.0, "1", None, NAN],
    "min_p": [-0.1, 1.1, NAN, INF, 10**400, True, "1", None],
    "seed": [-1, 1 << 64, 10**400, True, 1.0, "1", NAN],
    "stop": [None, "a", ["a"], ("",), ("a" * 1001,), (1,), (b"a",), ("a",) * 17],
    "ignore_eos": [0, 1, None, "true"],
    "logprobs": [-1, 21, 10**400, True, 1.0, "1", NAN],
}
TAKEN: dict[str, list[Any]] = {
    "max_tokens": [1, COUNT - 1],
    "temperature": [0, 0.0, 5e-324, 1, 10],
    "top_p": [5e-324, 1, 1.0],
    "top_k": [0, COUNT - 1],
    "min_p": [0, 1, 1.0],
    "seed": [None, 0, (1 << 64) - 1],
    "stop": [(), ("a" * 1000,) * 16],
    "ignore_eos": [True, False],
    "logprobs": [None, 0, 20],
}


def cases(table: dict[str, list[Any]]) -> list[Any]:
    return [(field, value) for field, values in table.items() for value in values]


def test_every_field_is_covered() -> None:
    names = {field.name for field in dataclasses.fields(SamplingParams)}
    assert names == REFUSED.keys() == TAKEN.keys()


@pytest.mark.parametrize(("field", "value"), cases(REFUSED), ids=lambda case: str(case)[:20])
def test_a_bad_value_is_refused_by_name(field: str, value: Any) -> None:
    with pytest.raises(UsageError) as caught:
        validate(SamplingParams(**{field: value}))
    assert caught.value.where == field
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(("field", "value"), cases(TAKEN), ids=lambda case: str(case)[:20])
def test_the_ends_of_each_range_are_taken(field: str, value: Any) -> None:
    validate(SamplingParams(**{field: value}))


def row(position: int = 0, seed: int = 0, **params: Any) -> SamplingRow:
    return SamplingRow(SamplingParams(**params), seed, position)


def reference(logits: NDArray[np.float32], params: SamplingParams) -> tuple[list[float], float]:
    """The distribution that the documentation of SamplingParams describes, by full sorts.

    Also returns how near top-p's border came to a token; very near, either side is right.
    """
    scaled = [(float(x) - float(max(logits))) / params.temperature for x in logits]
    order = sorted(range(len(scaled)), key=lambda token: (-scaled[token], token))
    if params.top_k:
        order = order[: params.top_k]
    weights = {token: math.exp(scaled[token]) for token in order}
    total, held, nucleus = math.fsum(weights.values()), 0.0, []
    margin = math.inf
    for token in order:
        if held >= params.top_p * total:
            break
        held += weights[token]
        if params.top_p < 1:
            margin = min(margin, abs(held / total - params.top_p))
        nucleus.append(token)
    likeliest = max(weights.values())
    kept = [token for token in nucleus if weights[token] >= params.min_p * likeliest]
    mass = math.fsum(weights[token] for token in kept)
    wanted = [weights[token] / mass if token in kept else 0.0 for token in range(len(scaled))]
    return wanted, margin


scores = st.integers(1, 200).flatmap(
    lambda size: st.lists(
        st.one_of(st.floats(-30, 30, width=32), st.sampled_from([0.0, 1.0])),
        min_size=size,
        max_size=size,
    )
)
filters = st.builds(
    SamplingParams,
    temperature=st.sampled_from([0.01, 0.5, 1.0, 2.0, 10.0]),
    top_k=st.sampled_from([0, 1, 2, 7, 1000]),
    top_p=st.one_of(st.just(1.0), st.floats(0.01, 1.0)),
    min_p=st.sampled_from([0.0, 0.05, 0.3, 1.0]),
)


@settings(max_examples=80, deadline=None)
@given(scores, filters, st.integers(0, (1 << 64) - 1), st.integers(0, 1 << 31))
def test_a_draw_inverts_the_reference_distribution(
    logits: list[float], params: SamplingParams, seed: int, position: int
) -> None:
    array = np.array(logits, dtype=np.float32)
    wanted, margin = reference(array, params)
    assume(margin > 1e-9)
    token = draw(array, SamplingRow(params, seed, position)).token_id
    philox = np.random.Philox(key=np.array([seed, position], dtype=np.uint64))
    number = np.random.Generator(philox).random()
    below = math.fsum(wanted[:token])
    assert wanted[token] > 0
    assert below - 1e-9 <= number <= below + wanted[token] + 1e-9


@pytest.mark.parametrize(
    "params",
    [
        {"temperature": 1.0},
        {"temperature": 0.6, "top_k": 20},
        {"temperature": 1.5, "top_p": 0.8},
        {"temperature": 1.0, "top_k": 30, "top_p": 0.9, "min_p": 0.05},
    ],
)
def test_draws_follow_the_distribution(params: dict[str, Any]) -> None:
    logits = np.random.default_rng(3).normal(size=40).astype(np.float32)
    wanted = np.array(reference(logits, SamplingParams(**params))[0])
    draws = 8000
    # Half of the draws along a sequence, half across seeds: both must be independent.
    rows = [row(place, 11, **params) for place in range(draws // 2)]
    rows += [row(5, seed, **params) for seed in range(draws // 2)]
    counts = np.bincount([draw(logits, one).token_id for one in rows], minlength=40)
    assert not counts[wanted == 0].any()
    likely = wanted * draws >= 5
    wanted_counts = np.append(wanted[likely], wanted[~likely].sum()) * draws
    seen = np.append(counts[likely], counts[~likely].sum())
    used = wanted_counts > 0
    chi_square = ((seen - wanted_counts)[used] ** 2 / wanted_counts[used]).sum()
    freedom = np.count_nonzero(used) - 1
    assert chi_square < freedom + 3.5 * math.sqrt(2 * freedom)


def test_greedy_takes_the_first_of_equals() -> None:
    logits = np.array([0, 3, 1, 3, 2], dtype=np.float32)
    assert draw(logits, row(temperature=0)).token_id == 1
    assert draw(logits, row(temperature=0, seed=99)).token_id == 1


def test_top_k_keeps_the_first_of_equals() -> None:
    logits = np.zeros(50, dtype=np.float32)
    drawn = {draw(logits, row(place, top_k=3)).token_id for place in range(100)}
    assert drawn == {0, 1, 2}


def test_a_wide_nucleus_is_found_too() -> None:
    logits = np.zeros(2000, dtype=np.float32)
    drawn = [draw(logits, row(place, top_p=0.5)).token_id for place in range(400)]
    assert max(drawn) < 1000
    assert max(drawn) > 950


def test_a_draw_depends_on_seed_and_position_alone() -> None:
    logits = np.random.default_rng(0).normal(size=500).astype(np.float32)
    first = [draw(logits, row(place, 5)).token_id for place in range(50)]
    again = [draw(logits, row(place, 5)).token_id for place in reversed(range(50))][::-1]
    other = [draw(logits, row(place, 6)).token_id for place in range(50)]
    assert first == again
    assert first != other


def test_the_smallest_temperature_is_greedy_and_does_not_overflow() -> None:
    logits = np.array([-3e38, 3e38, 2e38], dtype=np.float32)
    assert draw(logits, row(temperature=5e-324)).token_id == 1


@pytest.mark.parametrize("number", [0.0, 1 - 2**-53])
@pytest.mark.parametrize("likely", [1, 3, 10])
def test_a_token_without_weight_is_never_drawn(
    monkeypatch: pytest.MonkeyPatch, number: float, likely: int
) -> None:
    monkeypatch.setattr("ingot.inference.sampling._uniform", lambda *_: number)
    logits = np.array([-3e38, *[0.0] * likely, -3e38], dtype=np.float32)
    assert draw(logits, row()).token_id == (1 if number == 0 else likely)


def test_scores_are_left_as_they_were() -> None:
    logits = np.random.default_rng(0).normal(size=100).astype(np.float32)
    logits.setflags(write=False)
    draw(logits, row(top_k=9, top_p=0.7, min_p=0.1, logprobs=4))


@settings(max_examples=50, deadline=None)
@given(scores, st.integers(0, 20), st.sampled_from([0.0, 0.3, 5.0]))
def test_logprobs_are_the_log_softmax_before_temperature(
    logits: list[float], count: int, temperature: float
) -> None:
    array = np.array(logits, dtype=np.float32)
    drawn = draw(array, row(temperature=temperature, logprobs=count, top_k=3))
    assert drawn.logprob is not None
    values = [float(x) for x in array]
    scale = math.log(math.fsum(math.exp(x - max(values)) for x in values)) + max(values)
    order = sorted(range(len(values)), key=lambda token: (-values[token], token))[:count]
    assert [token for token, _ in drawn.logprob.top] == order
    assert [x for _, x in drawn.logprob.top] == pytest.approx([values[t] - scale for t in order])
    assert drawn.logprob.token_id == drawn.token_id
    assert drawn.logprob.logprob == pytest.approx(values[drawn.token_id] - scale)


def test_no_logprobs_unless_asked() -> None:
    assert draw(np.zeros(4, dtype=np.float32), row()).logprob is None


@pytest.mark.parametrize("bad", [NAN, INF, -INF])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_scores_that_are_not_finite_are_refused(bad: float, temperature: float) -> None:
    logits = np.array([0, bad, 1], dtype=np.float32)
    with pytest.raises(ServeError, match="1 of 3 scores are not finite at position 7"):
        draw(logits, row(7, temperature=temperature))
