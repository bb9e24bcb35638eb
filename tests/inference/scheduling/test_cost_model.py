from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from ingot.inference.scheduling.cost_model import CostModel, CostState, StepWork, pairs


def true_seconds(work: StepWork) -> float:
    """The cost of a made-up machine: the first 16 tokens wait for the weights alone."""
    return (
        0.004
        + 1e-4 * max(work.tokens - 16, 0)
        + 5e-5 * work.sequences
        + 2e-7 * work.decode_keys
        + 3e-8 * work.prefill_keys
    )


def some_work(chance: random.Random) -> StepWork:
    chunks = [(1, chance.randint(10, 1000)) for _ in range(chance.randint(0, 40))]
    if chance.random() < 0.4 or not chunks:
        chunks.append((chance.randint(2, 300), chance.choice([0, 100, 500])))
    return StepWork.of(chunks)


def learnt(
    steps: int = 600, cost: Callable[[StepWork], float] = true_seconds, seed: int = 0
) -> CostModel:
    chance, model = random.Random(seed), CostModel()
    for _ in range(steps):
        work = some_work(chance)
        model.observe(work, cost(work) * chance.uniform(0.98, 1.02))
    return model


def mean_error(model: CostModel, cost: Callable[[StepWork], float]) -> float:
    chance = random.Random(99)
    works = [some_work(chance) for _ in range(50)]
    return sum(abs(model.seconds(work) / cost(work) - 1) for work in works) / len(works)


def test_the_work_of_chunks_is_what_attention_reads() -> None:
    assert pairs(3, 2) == 3 + 4 + 5
    assert StepWork.of([(1, 9), (3, 2)]) == StepWork(4, 2, 10, 12)
    assert StepWork.of([(1, 9)]).with_chunk(3, 2) == StepWork(4, 2, 10, 12)
    assert StepWork.of([]).with_chunk(1, 4) == StepWork(1, 1, 5, 0)


def test_steps_of_every_kind_are_predicted_within_three_percent() -> None:
    model = learnt()
    assert mean_error(model, true_seconds) < 0.03
    assert model.error < 0.1


def test_what_was_learnt_is_kept_at_the_present_speed() -> None:
    model = learnt()
    for _ in range(40):
        work = some_work(random.Random(_))
        model.observe(work, 3 * true_seconds(work))
    kept = CostModel(CostState.model_validate_json(model.state().model_dump_json()))
    for work in (StepWork(1, 1, 100), StepWork(40, 40, 4000), StepWork(256, 1, 0, 33_000)):
        assert kept.seconds(work) == pytest.approx(model.seconds(work), rel=0.03)


def test_a_cpu_that_another_takes_makes_every_kind_of_step_dearer() -> None:
    """Only decodes run after the change, and prompts are known to be dearer too."""
    model, decode, prompt = learnt(), StepWork(8, 8, 2000), StepWork(256, 1, 0, 33_000)
    for _ in range(40):
        model.observe(decode, 2 * true_seconds(decode))
    assert model.seconds(prompt) == pytest.approx(2 * true_seconds(prompt), rel=0.1)
    for _ in range(80):
        model.observe(decode, true_seconds(decode))
    assert model.seconds(prompt) == pytest.approx(true_seconds(prompt), rel=0.1)


def test_one_stall_of_five_seconds_changes_little() -> None:
    model, decode = learnt(), StepWork(8, 8, 2000)
    before = model.seconds(decode)
    model.observe(decode, 5.0)
    assert model.seconds(decode) < 1.2 * before
    for _ in range(40):
        model.observe(decode, true_seconds(decode))
    assert model.seconds(decode) == pytest.approx(before, rel=0.03)
    assert model.tail(99) < 1.5, "one step in 512 is not in the 99th percentile"


def test_the_tail_is_what_that_share_of_steps_stays_within() -> None:
    model, work, chance = learnt(), StepWork(8, 8, 2000), random.Random(3)
    assert 1 <= model.tail(50) <= model.tail(99) < 1.2
    for _ in range(600):
        slow = chance.random() < 0.1
        model.observe(work, true_seconds(work) * (1.5 if slow else 1.0))
    assert model.tail(80) < 1.2
    assert 1.3 < model.tail(99) < 1.7


def test_the_longest_chunk_within_a_time() -> None:
    model, beside = learnt(), StepWork(8, 8, 2000)
    for most in (3, 512):
        count = model.tokens_within(0.02, beside, 0, most)
        assert count == most or model.seconds(beside.with_chunk(count + 1, 0)) > 0.02
        assert model.seconds(beside.with_chunk(count, 0)) <= 0.02
    assert model.tokens_within(0.0, beside, 0, 512) == 0


def test_before_anything_is_known_nothing_costs_anything_and_then_tokens_cost_alike() -> None:
    model = CostModel()
    assert not model.known
    assert model.seconds(StepWork(5, 1)) == 0
    assert model.error == 0
    model.observe(StepWork(8, 1, 0, 36), 0.008)
    assert model.known
    assert model.seconds(StepWork(8, 1, 0, 36)) == pytest.approx(0.008, rel=0.05)
    assert model.seconds(StepWork(512, 1, 0, 0)) > 0.1, "never tried, so not taken to be free"


_WORK = st.builds(
    StepWork,
    st.integers(1, 5000),
    st.integers(1, 512),
    st.integers(0, 10**7),
    st.integers(0, 10**8),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(_WORK, st.floats(0, 1e5)), min_size=1, max_size=30), _WORK, _WORK)
def test_more_work_never_costs_less_whatever_was_seen(
    steps: list[tuple[StepWork, float]], one: StepWork, other: StepWork
) -> None:
    model = CostModel()
    for work, seconds in steps:
        model.observe(work, seconds)
    more = StepWork(*map(max, one, other))
    assert 0 <= model.seconds(one) <= model.seconds(more) * (1 + 1e-9)
    assert 0 <= model.error <= 10


def test_a_state_of_another_shape_is_refused() -> None:
    good = learnt(50).state()
    size = len(good.moment)
    for bad in (
        good.model_copy(update={"moment": [0.0] * size}),
        good.model_copy(update={"gram": [[0.0] * size] * size}),
        good.model_copy(update={"knots": (0, 1)}),
        good.model_copy(update={"moment": [-1.0] * size}),
        good.model_copy(update={"moment": [1e300] * size}),
    ):
        with pytest.raises(ValueError, match="not the state of a cost model"):
            CostModel(bad)
    with pytest.raises(ValidationError):
        CostState.model_validate({"gram": [[1.0]], "moment": [1.0]})
