from __future__ import annotations

import json
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


def measured() -> CostModel:
    """A model after steps of every kind, three of each, as before it serves."""
    model = CostModel()
    for count in (1, 4, 16, 64):
        for context in (32, 512):
            for _ in range(3):
                work = StepWork.of([(1, context)] * count)
                model.observe(work, true_seconds(work))
    for count in (16, 64, 128, 256, 512):
        for start in (0, 512):
            for _ in range(3):
                work = StepWork.of([(count, start)])
                model.observe(work, true_seconds(work))
    return model


def one_answer_at_a_time(model: CostModel, steps: int = 100_000) -> CostModel:
    chance = random.Random(5)
    for index in range(steps):
        work = StepWork(1, 1, 100 + index % 200)
        model.observe(work, true_seconds(work) * chance.uniform(0.9, 1.2) / 1.05)
    return model


def test_kinds_that_did_not_run_for_hours_are_still_known_and_after_restarts_too() -> None:
    model = one_answer_at_a_time(measured())
    for _ in range(5):
        for work in (
            StepWork(1, 1, 200),
            StepWork(40, 40, 8000),
            StepWork(512, 1, 0, pairs(512, 0)),
            StepWork(512, 1, 0, pairs(512, 512)),
        ):
            assert model.seconds(work) == pytest.approx(true_seconds(work), rel=0.25)
        model = CostModel(CostState.model_validate_json(model.state().model_dump_json()))
        one_answer_at_a_time(model, 2000)


def test_without_a_measurement_a_kind_never_tried_keeps_the_price_of_its_tokens() -> None:
    work, prompt = StepWork(1, 1, 100), StepWork(512, 1, 0, pairs(512, 0))
    model = one_answer_at_a_time(CostModel(), 64)
    before = model.seconds(prompt)
    one_answer_at_a_time(model)
    assert model.seconds(prompt) == pytest.approx(before, rel=0.25)
    assert 0.1 < before < 600 * true_seconds(work)
    kept = CostModel(model.state())
    assert kept.seconds(prompt) == pytest.approx(before, rel=0.3), "not free after a restart"


def test_predictions_are_bounded() -> None:
    model = CostModel()
    for _ in range(100):
        model.observe(StepWork(1, 1, 1), 1e9)
    assert model.seconds(StepWork(10**6, 512, 10**9, 10**12)) == 3600
    for _ in range(2000):
        model.observe(StepWork(1, 1, 1), 0.0)
    assert model.seconds(StepWork(1, 1, 1)) >= 1e-6


def test_a_state_of_another_shape_is_refused() -> None:
    good = learnt(50).state()
    kind = good.kinds[0]
    size = len(kind.moment)
    for bad in (
        {"moment": [0.0] * size},
        {"gram": [[0.0] * size] * size},
        {"gram": [[1.0]] * size},
        {"moment": [-1.0] * size},
        {"moment": [1e300] * size},
        {"gram": [[1e-70 * value for value in row] for row in kind.gram]},
    ):
        changed = [one.model_copy(update=bad) for one in good.kinds]
        with pytest.raises(ValueError, match="not the state of a cost model"):
            CostModel(good.model_copy(update={"kinds": changed}))
    for twice in ({"knots": (0, 1)}, {"kinds": [kind, kind]}):
        with pytest.raises(ValueError, match="not the state of a cost model"):
            CostModel(good.model_copy(update=twice))
    with pytest.raises(ValidationError):
        CostState.model_validate({"slope": 1.0, "kinds": []})


@pytest.mark.parametrize("feature", [5, 8])
def test_a_state_whose_numbers_decayed_is_refused(feature: int) -> None:
    """As forgetting by time left it: 1e-70 beside 1e10."""
    data = measured().state().model_dump(mode="json")
    for kind in data["kinds"]:
        for index in range(len(kind["moment"])):
            kind["gram"][feature][index] *= 1e-70
            if index != feature:
                kind["gram"][index][feature] *= 1e-70
        kind["moment"][feature] *= 1e-30
    with pytest.raises(ValueError, match="not the state of a cost model"):
        CostModel(CostState.model_validate_json(json.dumps(data)))
