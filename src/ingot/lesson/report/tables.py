"""The lesson's figures as tables and lines of text."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from ingot.lesson.experiments.cache_growth import CacheGrowth
from ingot.lesson.experiments.engine_load import LoadTiming
from ingot.lesson.experiments.full_size import UpdateTrace
from ingot.lesson.experiments.guardrails import GuardrailResult
from ingot.lesson.experiments.one_weight import Step, curve, decimal
from ingot.lesson.experiments.phases import Phases, Speed
from ingot.lesson.experiments.switches import SwitchResult
from ingot.lesson_content import GuardrailExample


def one_weight(steps: Sequence[Step]) -> Table:
    """Show each step of one weight, with the size of its error as a bar."""
    table = _table("step", "weight", "prediction", "error", "change", "updated", "|error|")
    bars = curve([step.error for step in steps])
    for number, (step, bar) in enumerate(zip(steps, bars, strict=True), 1):
        table.add_row(
            str(number),
            decimal(step.weight),
            decimal(step.prediction),
            decimal(step.error),
            f"{'+' if step.change >= 0 else ''}{decimal(step.change)}",
            Text(decimal(step.updated), style="bold"),
            Text(bar, style="dark_orange"),
        )
    return table


def update(shown: UpdateTrace) -> Table:
    """Show one update of a language model, token by token."""
    table = _table("came", "the model's guess", "probability before", "after the update")
    for guess in shown.guesses:
        better = guess.after > guess.before
        table.add_row(
            Text(repr(guess.token), style="bold" if guess.token == guess.guess else ""),
            Text(repr(guess.guess)),
            f"{guess.before:.2%}",
            Text(f"{guess.after:.2%}", style="green" if better else ""),
        )
    return table


def phases(measured: Phases) -> Table:
    """Show both phases side by side."""
    return _side_by_side(phase_rows(measured))


def phase_needs(measured: Phases) -> Table:
    """Show the memory and the work of both phases."""
    return _side_by_side(_need_rows(measured))


def phase_speeds(measured: Phases) -> Table:
    """Show how fast both phases are, and what they cost in time."""
    return _side_by_side(_speed_rows(measured))


def _side_by_side(rows: Sequence[tuple[str, str, str]]) -> Table:
    table = _table("", "training", "inference")
    for name, training, inference in rows:
        table.add_row(Text(name, style="dim"), training, inference)
    return table


def phase_rows(measured: Phases) -> list[tuple[str, str, str]]:
    """Return what there is to compare: (name, training, inference)."""
    return _need_rows(measured) + _speed_rows(measured)


def _need_rows(measured: Phases) -> list[tuple[str, str, str]]:
    p = measured
    return [
        (
            "weights",
            f"{_digests(p.training_digests)} by one update",
            f"{_digests(p.inference_digests)} by {p.requests} answers",
        ),
        ("memory: weights", size(p.weight_bytes), size(p.served_bytes)),
        ("gradients", size(p.gradient_bytes), "none"),
        ("optimizer", size(p.optimizer_bytes), "none"),
        ("for the text", f"{size(p.activation_bytes)} a sequence", f"{size(p.kv_bytes)} a token"),
        (
            "work for a token",
            f"{number(p.training_flops)}FLOP, both ways",
            f"{number(p.inference_flops)}FLOP, forward only",
        ),
    ]


def _speed_rows(measured: Phases) -> list[tuple[str, str, str]]:
    p = measured
    rows = [
        (
            f"{training.batch} at once",
            _speed(training, "an update"),
            _speed(inference, "a token for each"),
        )
        for training, inference in zip(p.training_speeds, p.inference_speeds, strict=True)
    ]
    rows += [
        ("when", "once, offline", "for every token of every user"),
        (
            "cost in time",
            f"{time(p.training_seconds)} in all, {p.training_tokens:,} tokens read",
            f"{time(p.answer_seconds)} an answer of {p.answer_tokens} tokens",
        ),
        ("serving has cost as much after", "", f"{p.break_even:,.0f} answers"),
    ]
    return rows


def switches(measured: Sequence[SwitchResult], price_per_hour: float) -> Table:
    """Show what each position of the switches gave."""
    rows = [(str(entry.switches), entry.timing) for entry in measured]
    return _service("switches", rows, price_per_hour)


def loads(measured: Sequence[SwitchResult], price_per_hour: float) -> Table:
    """Show what the same system gave under each load."""
    rows = [(str(entry.load.users), entry.timing) for entry in measured]
    return _service("users at once", rows, price_per_hour)


def _service(heading: str, rows: Sequence[tuple[str, LoadTiming]], price_per_hour: float) -> Table:
    table = _table(heading, "in time", "goodput", "cost", "first token", "then each")
    for name, timing in rows:
        in_time = timing.in_time or 0
        table.add_row(
            name,
            Text(
                f"{in_time} of {timing.answers}",
                style="green" if in_time == timing.answers else "" if in_time else "red",
            ),
            Text(f"{timing.goodput:.3g}/s", style="bold"),
            f"{timing.cost_per_million(price_per_hour):.3g}",
            time(timing.first_token_seconds),
            "" if timing.gap_seconds is None else time(timing.gap_seconds),
        )
    return table


def cache(growth: CacheGrowth) -> Table:
    """Show what serving changes in memory."""
    table = _table("answers so far", "tokens", "cache", "digest of the weights")
    for row in growth.rows:
        table.add_row(str(row.answers), f"{row.tokens:,}", size(row.cache_bytes), row.digest[:16])
    return table


def guardrails(results: Sequence[GuardrailResult], example: GuardrailExample) -> Table:
    """Show how often each guardrail kept the answers to the rule."""
    rule = " or ".join(example.allowed)
    table = _table("with", "in one line", rule, "the first answer")
    for result in results:
        table.add_row(
            result.name,
            f"{result.stopped} of {result.answers}",
            Text(
                f"{result.allowed} of {result.answers}",
                style="green" if result.allowed == result.answers else "",
            ),
            Text(repr(result.example), overflow="ellipsis", no_wrap=True),
        )
    return table


def size(count: float) -> str:
    """Return a count of bytes in three digits with its unit."""
    return f"{number(count)}B"


def number(value: float) -> str:
    """Return a number with three digits and a letter for its thousands, then a space."""
    for letter in ("", "k", "M", "G", "T"):
        if abs(value) < 999.5:
            return f"{value:.3g} {letter}"
        value /= 1000
    return f"{value:.3g} P"


def time(seconds: float) -> str:
    """Return a time in three digits with its unit."""
    if seconds < 0.9995:  # what rounds to a second is one
        return f"{1000 * seconds:.3g} ms"
    return f"{seconds:.3g} s" if seconds < 120 else f"{seconds / 60:.3g} min"


def _digests(pair: tuple[str, str]) -> str:
    before, after = (digest[:8] for digest in pair)
    return f"unchanged ({before})" if before == after else f"changed ({before} to {after})"


def _speed(speed: Speed, unit: str) -> str:
    return f"{speed.tokens_per_second:,.0f} tokens/s, {time(speed.milliseconds / 1000)} {unit}"


def _table(*headings: str) -> Table:
    table = Table(box=None, padding=(0, 1), header_style="dim")
    for heading in headings:
        table.add_column(heading)
    return table
