"""One weight that learns, in exact arithmetic.

The model predicts ``weight * input``. The simple rule adds ``rate * error`` to
the weight; gradient descent on the squared error adds ``rate * 2 * input * error``.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from ingot.errors import UsageError

_LARGEST = 10**6  # largest number a user may give: exact fractions of larger ones are slow


class Rule(enum.Enum):
    """Rule that turns the error into a change of the weight."""

    ERROR = "error"
    """Add ``rate * error``."""
    GRADIENT = "gradient"
    """Add ``rate * 2 * input * error``: descend the squared error."""

    def change(self, rate: Fraction, value: Fraction, error: Fraction) -> Fraction:
        """Return what the rule adds to the weight for an input ``value``."""
        return rate * error if self is Rule.ERROR else rate * 2 * value * error


@dataclass(frozen=True)
class Step:
    """One round of predict, compare, update."""

    weight: Fraction
    """Before the update."""
    prediction: Fraction
    error: Fraction
    """Target minus prediction."""
    change: Fraction
    updated: Fraction
    """The weight after the update."""


def train_weight(
    start: Fraction,
    rate: Fraction,
    value: Fraction,
    target: Fraction,
    steps: int,
    rule: Rule = Rule.ERROR,
) -> list[Step]:
    """Run the loop and return each of its steps.

    Args:
        start: The weight to begin with.
        rate: The learning rate.
        value: The input.
        target: What the prediction should be.
        steps: How many updates to make.
        rule: How the error becomes a change.

    Raises:
        UsageError: a number too large to show.
    """
    for name, number in (("start", start), ("rate", rate), ("input", value), ("target", target)):
        if abs(number) > _LARGEST:
            raise UsageError(
                f"{float(number):g} is too large", where=name, fix=f"stay within ±{_LARGEST:,}"
            )
    weight, taken = start, []
    for _ in range(steps):
        prediction = weight * value
        error = target - prediction
        change = rule.change(rate, value, error)
        taken.append(Step(weight, prediction, error, change, weight + change))
        weight += change
    return taken


def error_factor(rate: Fraction, value: Fraction, rule: Rule = Rule.ERROR) -> Fraction:
    """Return what every step multiplies the error by; the weight converges if it is below 1."""
    return 1 - value * rule.change(rate, value, Fraction(1))


def diverging_rate(value: Fraction, rule: Rule = Rule.ERROR) -> Fraction | None:
    """Return the rate above which the error grows at every step; None where every rate does that.

    At the rate itself the error keeps its size and changes its sign.
    """
    slope = value * rule.change(Fraction(1), value, Fraction(1))
    if slope == 0:
        return None
    return 2 / slope if slope > 0 else None


def squared_error(weight: Fraction, value: Fraction, target: Fraction) -> Fraction:
    """Return what learning makes small."""
    return (target - weight * value) ** 2


def measured_gradient(weight: Fraction, value: Fraction, target: Fraction) -> Fraction:
    """Return the slope of the squared error, found by moving the weight a little both ways.

    The error is a parabola in the weight, so the central difference is exact.
    """
    nudge = Fraction(1, 1000)
    above = squared_error(weight + nudge, value, target)
    below = squared_error(weight - nudge, value, target)
    return (above - below) / (2 * nudge)


def curve(values: Sequence[Fraction], *, width: int = 20) -> list[str]:
    """Return one bar of text for each value, the longest ``width`` characters."""
    largest = max((abs(value) for value in values), default=Fraction(0))
    if largest == 0:
        return ["" for _ in values]
    return ["█" * round(abs(value) / largest * width) or "▏" for value in values]


def decimal(number: Fraction) -> str:
    """Return a number in decimals: exact where six digits suffice, else rounded and so marked."""
    exact = Decimal(number.numerator) / Decimal(number.denominator)
    rounded = Decimal(f"{exact:.6g}").normalize()
    text = f"{rounded:f}" if -7 < rounded.adjusted() < 9 else f"{rounded:g}"
    return text if Fraction(text) == number else f"≈{text}"
