"""The verb that plans serving: what a machine carries, how many are needed, at what cost."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ingot.cli.options import Json, Model, note, say
from ingot.errors import UsageError

if TYPE_CHECKING:
    from ingot.api.capacity import Candidate, CapacityPlan

app = typer.Typer()
_PLAIN_WIDTH = 140  # of a table that goes to a file or a pipe
_IDLE = 0.02
"""Share of steps that may be held up on a machine that is idle."""


@app.command(
    epilog="Example: **ingot plan demo.ingot --traffic server.log --objective ttft=1s,itl=50ms "
    "--price 0.40EUR/h**; or **--mix 'prompt=128..512 answer=64 rate=10'**"
)
def plan(
    ingot: Model,
    traffic: Annotated[
        Path | None,
        typer.Option(
            help="A log of ingot serve, a result of vllm bench serve --save-detailed, or a trace."
        ),
    ] = None,
    mix: Annotated[
        str | None,
        typer.Option(help="Made-up traffic instead, such as prompt=128..512 answer=64 rate=10."),
    ] = None,
    objective: Annotated[
        str, typer.Option(help="What requests are held to; p=99 is a percentage of them.")
    ] = "ttft=1s,itl=50ms",
    price: Annotated[
        str, typer.Option(help="Price of a machine or of its energy: 0.40EUR/h, or 0.30EUR/kWh.")
    ] = "",
    watts: Annotated[float | None, typer.Option(help="Power of a machine, in watts.")] = None,
    measure: Annotated[
        str, typer.Option(help="How long to measure each format of the weights.")
    ] = "6s",
    threads: Annotated[
        int | None, typer.Option(min=1, max=1024, help="Compute threads; one per CPU by default.")
    ] = None,
    json: Json = False,
) -> None:
    """Replay traffic on this machine's costs: what it carries, how many it takes, for how much.

    Steps are measured on this machine, so leave it idle meanwhile.
    """
    from ingot.api.capacity import plan_capacity
    from ingot.api.sources import as_ingot
    from ingot.costs import CostConfig, read_price
    from ingot.durations import parse_seconds
    from ingot.inference import EngineConfig
    from ingot.inference.capacity.mix import read_mix
    from ingot.inference.capacity.traffic import read_traffic
    from ingot.inference.request.objective import parse_objective
    from ingot.settings import check_tables

    if (traffic is None) == (mix is None):
        raise UsageError("give one of them", where="--traffic, --mix", fix="leave one out")
    fields = (read_price(price) if price else {}) | ({} if watts is None else {"watts": watts})
    cost = check_tables(fields, CostConfig, UsageError, where="cost")
    wanted = parse_objective(objective, where="--objective")
    read = read_mix(mix or "") if traffic is None else read_traffic(traffic)
    found = plan_capacity(
        as_ingot(ingot, note),
        read,
        wanted,
        cost=cost,
        engine=EngineConfig(threads=threads),
        calibrate_s=parse_seconds(measure, "--measure"),
        report=note,
    )
    if json:
        say(True, dataclasses.asdict(found), "")
        return
    _print(found)


def _print(plan: CapacityPlan) -> None:
    """Print the traffic, the candidates as a table, and what to start."""
    console = Console()
    if not console.is_terminal:
        console.width = max(console.width, _PLAIN_WIDTH)
    left_out = f"; {plan.skipped} other lines left out" if plan.skipped else ""
    console.print(
        f"{plan.source}: {plan.requests} requests, {plan.rate:.3g} a second, {plan.prompt_tokens} "
        f"tokens of prompts, {plan.answer_tokens} of answers{left_out}",
        markup=False,
    )
    table = Table(title=Text(f"within {plan.objective}"), title_justify="left")
    table.add_column("weights")
    money = f"{plan.currency}/M tokens" if plan.currency else "per M tokens"
    for heading in (
        *("seqs", "step", "cache", "carries", "tokens/s", "machines", money, "when full"),
        *("in time", "busy", "cached", "ttft p99", "itl p99"),
    ):
        table.add_column(heading, justify="right")
    for number, one in enumerate(plan.candidates):
        table.add_row(*_cells(one), style="bold" if number == 0 else "")
    console.print(table)
    for line in _conclusion(plan):
        console.print(line, markup=False)


def _conclusion(plan: CapacityPlan) -> Iterator[str]:
    """Yield what follows from the table."""
    if plan.stalled > _IDLE:
        yield (
            f"{plan.stalled:.0%} of the measured steps were held up by something else on this "
            "machine, and left out; leave it idle for a plan to rely on"
        )
    best = plan.candidates[0]
    if not best.machines:
        yield "nothing here keeps the objective, however little traffic there is"
        return
    weights = "" if best.weights.startswith("stored") else f" --weights {best.weights}"
    yield (
        f"the cheapest: {best.machines} of this machine, each with: ingot serve INGOT{weights} "
        f"--set engine.max_sequences={best.max_sequences} "
        f"--set engine.max_step_tokens={best.max_step_tokens} "
        f"--set engine.kv_cache_bytes={best.kv_cache_bytes}"
    )
    price = best.price
    if price.prompt is not None and price.answer is not None:
        yield (
            (
                f"a million tokens of prompts {price.prompt:.3g} {plan.currency}, of answers "
                f"{price.answer:.3g} {plan.currency}"
            )
            .replace(" ,", ",")
            .rstrip()
        )
    if price.joules is not None:
        yield f"energy of a million tokens {price.joules / 3.6e6:.3g} kWh, from the stated power"


def _cells(one: Candidate) -> list[str]:
    """Return a candidate's row; what is of a machine that does not suffice is left out."""
    cells = [
        one.weights,
        str(one.max_sequences),
        str(one.max_step_tokens),
        f"{one.kv_cache_bytes >> 20} MiB",
        f"{one.requests_per_s:.3g}/s",
        f"{one.tokens_per_s:.0f}",
    ]
    if not one.machines:
        return [*cells, "none suffices"]
    return [
        *cells,
        str(one.machines),
        *("" if price is None else f"{price:.3g}" for price in (one.price.all, one.price.full)),
        f"{one.attainment:.1%}",
        f"{one.busy:.0%}",
        f"{one.hit_rate:.0%}",
        f"{1000 * one.ttft_p99_s:.3g} ms",
        f"{1000 * one.itl_p99_s:.3g} ms",
    ]
