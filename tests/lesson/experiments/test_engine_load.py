from __future__ import annotations

import pytest

from ingot.api.inference import Model
from ingot.inference import Objective
from ingot.lesson.experiments.engine_load import LoadTiming, is_in_time, time_answers


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("cached", [True, False])
def test_every_user_gets_every_token(model: Model, together: bool, cached: bool) -> None:
    before = model.loop.stats()
    prompts = [[1, 2, 3] * 8, [4, 5]]
    timing = time_answers(model, prompts, tokens=6, together=together, cached=cached)
    after = model.loop.stats()
    assert (timing.answers, timing.tokens) == (2, 12)
    assert after.generated_tokens - before.generated_tokens == 12
    assert after.cached_tokens == before.cached_tokens  # of no question asked before
    again = sum(range(6)) * 2  # each answer's own tokens, read again for each that follows
    read = 26 if cached else 26 * 6 + again
    assert after.prefill_tokens - before.prefill_tokens == read
    assert 0 < timing.first_token_seconds < timing.seconds
    assert timing.tokens_per_second == 12 / timing.seconds


@pytest.mark.parametrize("cached", [True, False])
def test_answers_are_held_to_an_objective(model: Model, cached: bool) -> None:
    patient = Objective(ttft_s=3600.0, itl_s=60.0)
    timing = time_answers(model, [[1, 2, 3]] * 3, tokens=6, cached=cached, objective=patient)
    assert timing.in_time == 3
    assert timing.goodput == 3 / timing.seconds
    assert timing.gap_seconds is not None
    assert 0 < timing.gap_seconds < timing.seconds


@pytest.mark.parametrize(
    ("times", "kept"),
    [
        ([10.5, 10.6, 10.7], True),
        ([10.5, 10.6, 11.7], True),  # one gap may always be longer
        ([10.5, 11.6, 12.7], False),
        ([11.5, 11.6, 11.7], False),  # the first token was late
    ],
)
def test_an_answer_is_in_time_by_its_first_token_and_its_gaps(
    times: list[float], kept: bool
) -> None:
    assert is_in_time(times, 10.0, Objective(ttft_s=1.0, itl_s=0.5)) == kept


def test_cost_is_the_time_of_the_machine() -> None:
    timing = LoadTiming(answers=8, tokens=1000, seconds=3.6, first_token_seconds=0.1)
    assert timing.cost_per_million(0.5) == pytest.approx(0.5)
