"""The experiments with one weight, in a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from ingot.errors import UsageError
from ingot.lesson.experiments.frozen_weight import FrozenWeight, write_in_another_process
from ingot.lesson.experiments.one_weight import (
    Rule,
    decimal,
    diverging_rate,
    error_factor,
    measured_gradient,
    train_weight,
)
from ingot.lesson.report import tables
from ingot.lesson.terminal.display import Display
from ingot.lesson_content import FrozenWeightExample, OneWeight

_TIMES = "\N{MULTIPLICATION SIGN}"
_LATER_STEPS = (6, 12, 24)


def one_weight(display: Display, given: OneWeight, more: Sequence[str]) -> None:
    """Let one weight learn with the lesson's numbers, then with the user's.

    Args:
        display: Where to show it.
        given: The lesson's numbers.
        more: What is said to those who want to know about rates and gradients.
    """
    _learn(display, given.start, given.rate, given, given.steps)
    while display.prompter.confirm("  Try numbers of your own?"):
        start = display.prompter.number("start", given.start)
        rate = display.prompter.number("rate", given.rate)
        steps = display.prompter.integer("steps", given.steps, given.most_steps)
        try:
            _learn(display, start, rate, given, steps)
        except UsageError as error:
            display.line(str(error))
    if display.prompter.confirm("  Know more: rates that are too high, and the gradient?"):
        display.say(more)
        _too_fast(display, given)
        _gradient(display, given)


def _too_fast(display: Display, given: OneWeight) -> None:
    """Let it learn at a rate at which the error grows."""
    limit = diverging_rate(given.input)
    if limit is None:
        return
    fast = limit * Fraction(3, 2)
    display.line(
        f"Above a rate of {decimal(limit)} it runs away. At {decimal(fast)}:", style="italic"
    )
    _learn(display, given.start, fast, given, given.steps + 2)


def _learn(display: Display, start: Fraction, rate: Fraction, given: OneWeight, steps: int) -> None:
    display.line(
        f"start {decimal(start)}, rate {decimal(rate)}, "
        f"input {decimal(given.input)}, target {decimal(given.target)}"
    )
    display.show(tables.one_weight(train_weight(start, rate, given.input, given.target, steps)))
    factor = error_factor(rate, given.input)
    fate = "shrinks" if abs(factor) < 1 else "grows" if abs(factor) > 1 else "keeps its size"
    display.line(f"Each step multiplies the error by {decimal(factor)}: it {fate}.")


def _gradient(display: Display, given: OneWeight) -> None:
    """Show what the true gradient of the squared error would do instead."""
    slope = measured_gradient(given.start, given.input, given.target)
    simple, true = (
        train_weight(given.start, given.rate, given.input, given.target, 1, rule)[0].change
        for rule in (Rule.ERROR, Rule.GRADIENT)
    )
    display.line(
        f"The squared error's slope at {decimal(given.start)}, found by moving the weight a "
        f"little both ways: {decimal(slope)}."
    )
    display.line(
        f"So the gradient's step is {decimal(true)} where the simple rule's is {decimal(simple)}, "
        f"and it diverges from a rate of {_limit(given.input, Rule.GRADIENT)} on, "
        f"not {_limit(given.input, Rule.ERROR)}."
    )
    mirrored = -given.input
    ends = {
        rule: train_weight(given.start, given.rate, mirrored, given.target, given.steps, rule)[-1]
        for rule in Rule
    }
    display.line(
        f"With input {decimal(mirrored)} the error after {given.steps} steps is "
        f"{decimal(given.target - ends[Rule.ERROR].updated * mirrored)} by the simple rule and "
        f"{decimal(given.target - ends[Rule.GRADIENT].updated * mirrored)} by the gradient."
    )


def _limit(value: Fraction, rule: Rule) -> str:
    limit = diverging_rate(value, rule)
    return "any" if limit is None else decimal(limit)


def frozen_weights(display: Display, given: OneWeight, example: FrozenWeightExample) -> None:
    """Freeze the weight that was learned, the one that longer training gives, and another."""
    learned = _learned(given, given.steps)
    _ask(display, f"Frozen after {given.steps} steps", learned, given)
    short = given.target - learned * given.input
    display.line(f"Still {decimal(short)} short of {decimal(given.target)}. Train longer:")
    _longer(display, given)
    _ask(
        display, f"Frozen after {given.long_steps} steps", _learned(given, given.long_steps), given
    )
    _ask(display, "Another frozen model", example.other, given)


def _longer(display: Display, given: OneWeight) -> None:
    """Show the weight on its way to the target."""
    steps = train_weight(given.start, given.rate, given.input, given.target, given.long_steps)
    for number in (given.steps, *_LATER_STEPS, given.long_steps):
        if number <= given.long_steps:
            display.line(f"  after step {number:>2}: weight {decimal(steps[number - 1].updated)}")


def sealed_weight(display: Display, given: OneWeight) -> None:
    """Try to write a frozen weight, politely and by force."""
    learned = _learned(given, given.steps)
    frozen = FrozenWeight(float(learned))
    answer, other = frozen.predict(given.input), float(learned) + 0.05
    display.line(f"The weight is {frozen.array[0]:g}. An assignment:")
    display.line(f">>> weight[0] = {other:g}")
    display.line(frozen.try_to_write(other), style="red")
    display.line("By force, in a separate process, through a pointer past all of Python's checks:")
    display.line(
        f"the kernel ended that process: {write_in_another_process(float(learned), other)}",
        style="red",
    )
    display.line(f"The weight is still {frozen.array[0]:g}, and the answer {answer:g}.")


def _learned(given: OneWeight, steps: int) -> Fraction:
    """Return the weight after so many steps of the lesson's example."""
    return train_weight(given.start, given.rate, given.input, given.target, steps)[-1].updated


def _ask(display: Display, model: str, weight: Fraction, given: OneWeight) -> None:
    """Show what a frozen weight answers."""
    answer = decimal(Fraction(FrozenWeight(float(weight)).predict(given.input)).limit_denominator())
    display.line(
        f"{model}: {decimal(weight)} {_TIMES} {decimal(given.input)} = {answer}", style="bold"
    )
