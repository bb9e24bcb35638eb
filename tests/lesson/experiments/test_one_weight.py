from __future__ import annotations

import itertools
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingot.errors import UsageError
from ingot.lesson.experiments.one_weight import (
    Rule,
    curve,
    decimal,
    diverging_rate,
    error_factor,
    measured_gradient,
    squared_error,
    train_weight,
)

NUMBERS = st.fractions(min_value=-50, max_value=50, max_denominator=40)


def test_the_lessons_three_steps_are_exact() -> None:
    steps = train_weight(Fraction("0.5"), Fraction("0.1"), Fraction(2), Fraction(4), 3)
    assert [step.updated for step in steps] == [
        Fraction("0.8"),
        Fraction("1.04"),
        Fraction("1.232"),
    ]
    assert [step.prediction for step in steps] == [1, Fraction("1.6"), Fraction("2.08")]
    assert [step.error for step in steps] == [3, Fraction("2.4"), Fraction("1.92")]
    assert [step.change for step in steps] == [Fraction("0.3"), Fraction("0.24"), Fraction("0.192")]


def test_the_gradient_takes_another_step_and_knows_the_inputs_sign() -> None:
    gradient = train_weight(
        Fraction("0.5"), Fraction("0.1"), Fraction(2), Fraction(4), 1, Rule.GRADIENT
    )[0]
    assert gradient.change == Fraction("1.2")
    simple, true = (
        train_weight(Fraction("0.5"), Fraction("0.1"), Fraction(-2), Fraction(4), 1, rule)[
            0
        ].updated
        for rule in Rule
    )
    assert squared_error(simple, Fraction(-2), Fraction(4)) > squared_error(
        Fraction("0.5"), Fraction(-2), Fraction(4)
    )
    assert squared_error(true, Fraction(-2), Fraction(4)) < squared_error(
        Fraction("0.5"), Fraction(-2), Fraction(4)
    )


@settings(max_examples=60, deadline=None)
@given(NUMBERS, NUMBERS, NUMBERS)
def test_the_measured_slope_is_the_formulas(
    weight: Fraction, value: Fraction, target: Fraction
) -> None:
    assert measured_gradient(weight, value, target) == -2 * value * (target - weight * value)


@settings(max_examples=60, deadline=None)
@given(NUMBERS, NUMBERS, NUMBERS, NUMBERS, st.sampled_from(Rule))
def test_every_step_multiplies_the_error_by_the_same_factor(
    start: Fraction, rate: Fraction, value: Fraction, target: Fraction, rule: Rule
) -> None:
    steps = train_weight(start, rate, value, target, 4, rule)
    factor = error_factor(rate, value, rule)
    for before, after in itertools.pairwise(steps):
        assert after.error == before.error * factor
        assert after.weight == before.updated


@pytest.mark.parametrize("rule", Rule)
@pytest.mark.parametrize("value", [Fraction(2), Fraction(1, 3), Fraction(-2), Fraction(0)])
def test_past_the_diverging_rate_the_error_grows(rule: Rule, value: Fraction) -> None:
    limit = diverging_rate(value, rule)
    if limit is None:
        assert abs(error_factor(Fraction(1, 1000), value, rule)) >= 1
    else:
        assert abs(error_factor(limit, value, rule)) == 1
        assert abs(error_factor(limit * Fraction(99, 100), value, rule)) < 1
        assert abs(error_factor(limit * Fraction(101, 100), value, rule)) > 1


def test_a_number_too_large_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match="rate: 1e"):
        train_weight(Fraction(1), Fraction(10**9), Fraction(2), Fraction(4), 1)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (Fraction("1.232"), "1.232"),
        (Fraction(-24), "-24"),
        (Fraction(1, 3), "≈0.333333"),
        (Fraction(100_000), "100000"),
        (Fraction(10) ** 400, "1e+400"),
    ],
)
def test_numbers_say_whether_they_are_exact(number: Fraction, text: str) -> None:
    assert decimal(number) == text


def test_the_longest_bar_is_the_largest_number() -> None:
    assert list(map(len, curve([Fraction(1), Fraction(-4), Fraction(2)], width=8))) == [2, 8, 4]
    assert curve([Fraction(0)]) == [""]
