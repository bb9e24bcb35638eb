from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingot.inference.scheduling.answer_lengths import AnswerLengths


def test_what_past_answers_took_is_expected_of_the_next() -> None:
    lengths, chance = AnswerLengths(), random.Random(0)
    for _ in range(400):
        lengths.observe("a", chance.choice((50, 100)), limited=False)
        lengths.observe("b", 1000, limited=False)
    assert lengths.expected("a", 4000) == pytest.approx(75, rel=0.15)
    assert lengths.expected("a", 60) == pytest.approx(55, rel=0.15)
    assert lengths.expected("a", 4000, so_far=80) == pytest.approx(20, rel=0.6)
    assert lengths.expected("b", 4000) == pytest.approx(1000, rel=0.15)
    assert lengths.quantile("a", 4000, 0.99) == pytest.approx(100, rel=0.2)
    assert lengths.quantile("a", 4000, 0.3) == pytest.approx(50, rel=0.2)
    assert 75 < lengths.expected("new", 4000) < 1000, "a tenant never seen is like all of them"


def test_answers_that_ended_at_their_limit_say_that_the_next_will_too() -> None:
    lengths = AnswerLengths()
    for _ in range(100):
        lengths.observe("a", 64, limited=True)
    assert lengths.expected("a", 256) == 256
    assert lengths.quantile("a", 256, 0.5) == 256


def test_the_past_fades() -> None:
    lengths = AnswerLengths()
    for tokens in [1000] * 2000 + [10] * 4000:
        lengths.observe("a", tokens, limited=False)
    assert lengths.expected("a", 4000) < 30


def test_memory_is_bounded_and_those_who_came_last_are_remembered() -> None:
    lengths = AnswerLengths()
    for tenant in range(2000):
        for _ in range(10):
            lengths.observe(str(tenant), 10 if tenant == 1999 else 500, limited=False)
    assert len(lengths._by_tenant) == 256
    assert lengths.expected("1999", 4000) == pytest.approx(10, rel=0.2)


@given(
    st.lists(st.tuples(st.integers(0, 2**31), st.booleans()), max_size=30),
    st.integers(0, 2**31 - 1),
    st.integers(0, 2**31 - 1),
)
def test_an_estimate_is_never_more_than_is_left(
    past: list[tuple[int, bool]], most: int, so_far: int
) -> None:
    lengths = AnswerLengths()
    for tokens, limited in past:
        lengths.observe("", tokens, limited=limited)
    assert 0 <= lengths.expected("", most, so_far) <= max(most - so_far, 0) + 1e-6
    assert 0 <= lengths.quantile("", most, 0.9) <= most
