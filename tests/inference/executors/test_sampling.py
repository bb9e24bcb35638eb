from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ingot.errors import ServeError
from ingot.inference import SamplingParams
from ingot.inference.executors.base import SamplingRow
from ingot.inference.executors.sampling import adjust, draw
from ingot.inference.request.penalties import Adjustment

NAN, INF = math.nan, math.inf


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
    if params.typical_p < 1:
        kept, margin = typical(kept, weights, params.typical_p, margin)
    mass = math.fsum(weights[token] for token in kept)
    wanted = [weights[token] / mass if token in kept else 0.0 for token in range(len(scaled))]
    return wanted, margin


def typical(
    kept: list[int], weights: dict[int, float], share: float, margin: float
) -> tuple[list[int], float]:
    """Typical sampling by full sorts; near ties in surprise count as too near a border."""
    total = math.fsum(weights[token] for token in kept)
    chances = {token: weights[token] / total for token in kept if weights[token] > 0}
    entropy = -math.fsum(chance * math.log(chance) for chance in chances.values())
    distance = {token: abs(-math.log(chances[token]) - entropy) for token in chances}
    order = sorted(chances, key=lambda token: (distance[token], token))
    held, chosen = 0.0, []
    for token in order:
        if held >= share:
            break
        held += chances[token]
        margin = min(margin, abs(held - share))
        chosen.append(token)
    outside = [distance[token] for token in order[len(chosen) :]]
    if outside and outside[0] - distance[chosen[-1]] < 1e-9:
        margin = 0.0
    return chosen, margin


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
    typical_p=st.sampled_from([1.0, 0.9, 0.4, 0.05]),
)


@settings(max_examples=150, deadline=None)
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
    rows = [row(index, 11, **params) for index in range(draws // 2)]
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
    drawn = {draw(logits, row(index, top_k=3)).token_id for index in range(100)}
    assert drawn == {0, 1, 2}


def test_a_wide_nucleus_is_found_too() -> None:
    logits = np.zeros(2000, dtype=np.float32)
    drawn = [draw(logits, row(index, top_p=0.5)).token_id for index in range(400)]
    assert max(drawn) < 1000
    assert max(drawn) > 950


def test_a_draw_depends_on_seed_and_position_alone() -> None:
    logits = np.random.default_rng(0).normal(size=500).astype(np.float32)
    first = [draw(logits, row(index, 5)).token_id for index in range(50)]
    again = [draw(logits, row(index, 5)).token_id for index in reversed(range(50))][::-1]
    other = [draw(logits, row(index, 6)).token_id for index in range(50)]
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
    monkeypatch.setattr("ingot.inference.executors.sampling._uniform", lambda *_: number)
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


def words(allowed: list[int], size: int) -> NDArray[np.uint32]:
    """A mask as llguidance gives it: in words of 64 bits, little end first."""
    bits = np.zeros(-(-size // 64) * 64, dtype=np.uint8)
    bits[allowed] = 1
    return np.packbits(bits, bitorder="little").view(np.uint32)


def masked(allowed: list[int], size: int, index: int = 0, **params: Any) -> SamplingRow:
    return row(index, **params)._replace(mask=words(allowed, size))


@pytest.mark.parametrize(
    "params",
    [
        {"temperature": 0},
        {},
        {"top_k": 5},
        {"top_p": 0.1},
        {"min_p": 0.5},
        {"typical_p": 0.2},
        {"temperature": 1e-320},
    ],
)
def test_only_what_the_mask_allows_is_drawn(params: dict[str, Any]) -> None:
    logits = np.random.default_rng(1).normal(scale=5, size=70).astype(np.float32)
    worst = np.argsort(logits)[:3].tolist()
    drawn = {draw(logits, masked(worst, 70, index, **params)).token_id for index in range(200)}
    assert drawn <= set(worst)
    if params == {"temperature": 0}:
        assert drawn == {worst[2]}


def test_a_mask_that_allows_nothing_is_an_error() -> None:
    with pytest.raises(ServeError, match="grammar: allows no token at position 3"):
        draw(np.zeros(70, dtype=np.float32), masked([], 70, 3))


def test_a_bias_decides_and_the_log_probability_does_not_know_of_it() -> None:
    logits = np.array([0, 5, 1], dtype=np.float32)
    change = Adjustment(np.array([2], np.int32), np.ones(1), np.array([100.0]))
    drawn = draw(logits, row(temperature=0, logprobs=1)._replace(adjustment=change))
    assert drawn.token_id == 2
    assert drawn.logprob is not None
    assert drawn.logprob.logprob == pytest.approx(1 - math.log(1 + math.exp(5) + math.e))
    assert drawn.logprob.top[0][0] == 1


def test_adjusted_scores_stay_finite_and_the_given_ones_as_they_were() -> None:
    logits = np.array([3e38, -3e38], dtype=np.float32)
    logits.setflags(write=False)
    change = Adjustment(np.arange(2, dtype=np.int32), np.array([0.1, 10.0]), np.zeros(2))
    assert np.isfinite(adjust(logits, change)).all()
    assert draw(logits, row(0)._replace(adjustment=change)).token_id == 0


def test_a_given_token_is_reported_on_and_nothing_drawn() -> None:
    logits = np.array([0, 5, 1], dtype=np.float32)
    drawn = draw(logits, row(temperature=0, logprobs=2)._replace(forced_token=0))
    assert drawn.token_id == 0
    assert drawn.logprob is not None
    assert drawn.logprob.token_id == 0
    assert drawn.logprob.logprob == pytest.approx(-math.log(1 + math.exp(5) + math.e))
    assert [token for token, _ in drawn.logprob.top] == [1, 2]


def test_typical_sampling_can_leave_the_likeliest_out() -> None:
    logits = np.log(np.array([0.4, *[0.06] * 10])).astype(np.float32)
    drawn = {draw(logits, row(index, typical_p=0.29)).token_id for index in range(200)}
    assert drawn == {1, 2, 3, 4, 5}
