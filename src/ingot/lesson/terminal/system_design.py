"""The experiment with caching, quantization and batching, in a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from pydantic import ValidationError

from ingot.inference import Objective
from ingot.lesson.experiments.machine_load import Measured, least_disturbed, watched
from ingot.lesson.experiments.switches import (
    ANSWER_TOKENS,
    PROMPT_TOKENS,
    Load,
    SwitchBench,
    SwitchResult,
    fastest,
)
from ingot.lesson.report import tables
from ingot.lesson.terminal.display import Display
from ingot.model import Tokenizer

_ROUNDS = 3


@dataclass(frozen=True)
class SystemDesignResult:
    """What the switches gave."""

    switches: Measured[tuple[SwitchResult, ...]]
    loads: tuple[SwitchResult, ...]
    """Every switch on, with more and more users."""
    parameters: int
    """Weights of the model."""


def run_system_design(display: Display, folder: Path, tokenizer: Tokenizer) -> SystemDesignResult:
    """Turn the switches on in turn and let the load grow; then as the user chooses.

    Args:
        display: Where to show it.
        folder: Where the model's ingot goes.
        tokenizer: Any; it decides the vocabulary.
    """
    design = display.content.system_design
    with SwitchBench(folder, tokenizer, design) as bench:
        display.line(
            f"Each user sends {PROMPT_TOKENS} tokens and wants {ANSWER_TOKENS}. The model's "
            f"{tables.number(bench.parameters)} weights are random, and cost as much as trained "
            "ones."
        )
        if not bench.can_quantize:
            display.line("Quantization needs the C++ core, which was not built here.")
        objective = bench.proposed_objective()
        display.line(
            f"The objective, from what one user alone gets: {_told(objective)}. Cost: of a million "
            f"tokens, on a machine of {design.price_per_hour:g} an hour."
        )
        load = Load(design.users, objective)
        switches = _measured(display, lambda: bench.measure_in_turn(load))
        display.show(tables.switches(switches.value, design.price_per_hour))
        display.busy(switches)
        display.line("Every switch on, and more users at once:")
        loads = _measured(display, lambda: bench.measure_loads(objective))
        display.show(tables.loads(loads.value, design.price_per_hour))
        display.busy(loads)
        while display.prompter.confirm("  Set the objective and the load yourself?"):
            _as_chosen(display, bench, load)
        return SystemDesignResult(switches, loads.value, bench.parameters)


def _as_chosen(display: Display, bench: SwitchBench, proposed: Load) -> None:
    """Ask for an objective and a load, and measure every position of the switches with them."""
    ask, design = display.prompter, display.content.system_design
    first = ask.number("first token within (ms)", _milliseconds(proposed.objective.ttft_s))
    gap = ask.number("then a token every (ms)", _milliseconds(proposed.objective.itl_s))
    users = ask.integer("users at once", proposed.users, design.most_users)
    try:
        chosen = Objective(ttft_s=float(first / 1000), itl_s=float(gap / 1000))
    except (ValidationError, OverflowError):
        display.line(
            "The first token may take from 1 ms to an hour, each further one "
            "from 0.1 ms to a minute."
        )
        return
    own = watched(lambda: _counted(display, bench.measure_in_turn(Load(users, chosen))))
    display.show(tables.switches(own.value, design.price_per_hour))
    display.busy(own)


def _measured(
    display: Display, measure: Callable[[], Iterable[SwitchResult]]
) -> Measured[tuple[SwitchResult, ...]]:
    """Make measurements; on a busy machine several times, of which each keeps its fastest."""
    rounds: list[tuple[SwitchResult, ...]] = []
    last = least_disturbed(
        lambda: rounds.append(_counted(display, measure())),
        display.measures_again,
        attempts=_ROUNDS,
    )
    return Measured(fastest(rounds), last.others)


def _counted(display: Display, measurements: Iterable[SwitchResult]) -> tuple[SwitchResult, ...]:
    """Make measurements, and show meanwhile how many are made."""
    results: list[SwitchResult] = []
    with display.console.status("measuring") as status:
        for result in measurements:
            results.append(result)
            status.update(f"measuring: {len(results)} made")
    return tuple(results)


def _told(objective: Objective) -> str:
    return (
        f"the first token within {tables.time(objective.ttft_s or 0)}, then one every "
        f"{tables.time(objective.itl_s or 0)}"
    )


def _milliseconds(seconds: float | None) -> Fraction:
    return Fraction(1000 * (seconds or 0)).limit_denominator(1000)
