"""Replicas that a load needs, and its tail latency, by simulation and on two real replicas.

``python -m benchmarks.scale [--quick] [--json FILE] [--plot FILE]``. What steps cost is measured
here for a model of 88M weights and taken from data sheets for one of 70B. Two real servers answer
the same requests as two simulated ones; where Ray is installed, two replicas on it too. Fleets of
more than ``FLEET`` replicas are taken to carry as much for each replica as one of that size: the
router chooses between two of them either way.
"""

from __future__ import annotations

import math
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from benchmarks import fleet_check
from benchmarks.fleet import Arrival, FleetOutcome, FrontCosts, Replica, simulate
from benchmarks.fleet_costs import measured, of_ingot, paper_70b_cpus, paper_70b_gpus
from benchmarks.fleet_traffic import Lengths, bursty, diurnal, poisson
from benchmarks.report import Report, Row, arguments
from benchmarks.scale_plot import Curve, draw_curves
from benchmarks.serving import make_served_model
from ingot.inference.capacity.replay import percentile
from ingot.inference.scheduling.cost_model import StepWork

FLEET = 8
WITHIN = 0.15
RATES = (10, 100, 1_000, 10_000)
_ARRIVALS = {"even": poisson, "bursty": bursty, "a day": diurnal}
_LOADS = (0.2, 0.4, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1)
_CHECKED = (0.25, 0.5)
_STRIDE, _PRECISION, _HOPELESS = 1.5, 1.06, 1000.0
_BATCH = 16
_SHORT = Lengths(96, 32, 1024)
_WARM = 0.25
"""Part of the simulated time whose requests are left out, for a fleet begins empty."""
_Make = Callable[[Lengths, float, float, int], list[Arrival]]


@dataclass(frozen=True)
class Case:
    """A model on some hardware, with the requests that it gets and their objective."""

    name: str
    replica: Replica
    lengths: Lengths
    first_s: float
    """Most seconds to the first token, of 99 in 100 requests."""
    gap_s: float
    """Most seconds between two tokens, of 99 in 100."""
    seconds: float
    """Simulated time of each load."""


def kept(case: Case, outcome: FleetOutcome) -> bool:
    """Tell whether requests kept the objective."""
    return (
        not outcome.refused
        and percentile(outcome.first_s, 99) <= case.first_s
        and percentile(outcome.gaps_s, 99) <= case.gap_s
    )


def loaded(
    case: Case, make: _Make, rate: float, replicas: int, front: FrontCosts | None = None
) -> FleetOutcome:
    """Simulate a fleet under a load, in requests per second."""
    arrivals = make(case.lengths, rate, case.seconds, 0)
    return simulate(arrivals, case.replica, replicas, front=front, after_s=_WARM * case.seconds)


def carried(case: Case, make: _Make, replicas: int) -> float:
    """Return the most requests per second and replica with which the objective is kept."""

    def keeps(rate: float) -> bool:
        return kept(case, loaded(case, make, rate * replicas, replicas))

    low = guess = _guess(case)
    if keeps(low):
        while keeps(high := low * _STRIDE):
            low = high
    else:
        while not keeps(low := low / _STRIDE):
            if low < guess / _HOPELESS:
                return 0.0
        high = low * _STRIDE
    while high / low > _PRECISION:
        middle = math.sqrt(low * high)
        low, high = (middle, high) if keeps(middle) else (low, middle)
    return low


def _guess(case: Case) -> float:
    """Return about half of the requests per second that one replica's full steps would answer."""
    limits, costs, lengths = case.replica.config, case.replica.costs, case.lengths
    mean = math.exp(lengths.sigma**2 / 2)
    prompt, answer = lengths.prompt * mean, lengths.answer * mean
    batch, chunk = min(limits.max_sequences, _BATCH), limits.max_step_tokens
    token = costs.seconds(StepWork(batch, batch, int(batch * (prompt + answer / 2)))) / batch
    read = costs.seconds(StepWork(chunk, 1, 0, int(chunk * prompt / 2))) / chunk
    return 0.5 / (prompt * read + answer * token)


def cases(measured_replica: Replica, quick: bool) -> list[Case]:
    """Return what is simulated."""
    long = Lengths(1020, 129, 8192)
    seconds = 15.0 if quick else 60.0
    return [
        Case("88M int8, a core each", measured_replica, _SHORT, 1.0, 0.1, seconds),
        Case("70B bf16, 8 H100 each", paper_70b_gpus(), long, 1.0, 0.1, seconds / 2),
        Case("70B int4, 256 cores each", paper_70b_cpus(), long, 30.0, 1.0, 10 * seconds),
    ]


def report_case(report: Report, case: Case, front: FrontCosts, fleet: int, quick: bool) -> Curve:
    """Report what a case carries, how many replicas it needs, and its tail over the load."""
    title, best = case.name, 0.0
    for kind, make in _ARRIVALS.items():
        each = carried(case, make, fleet)
        best = best or each
        report.add(Row(f"{title}: carried by one of {fleet}, {kind}", each, "requests/s"))
        for rate in RATES if each else ():
            need = math.ceil(rate / each)
            report.add(Row(f"{title}: replicas for {rate:,} requests/s, {kind}", need, ""))
    alone = carried(case, poisson, 1)
    report.add(Row(f"{title}: carried by one alone, even", alone, "requests/s"))
    points = []
    for load in _LOADS[1::3] if quick else _LOADS:
        outcome = loaded(case, poisson, load * best * fleet, fleet)
        first = [percentile(outcome.first_s, percent) for percent in (50, 99)]
        gaps = [percentile(outcome.gaps_s, percent) for percent in (50, 99)]
        points.append((load * best, *first, *gaps))
        for name, seconds in zip(("p50", "p99"), first, strict=True):
            report.add(Row(f"{title}: first token {name} at {load:.0%}", 1e3 * seconds, "ms"))
        for name, seconds in zip(("p50", "p99"), gaps, strict=True):
            report.add(Row(f"{title}: between tokens {name} at {load:.0%}", 1e3 * seconds, "ms"))
        if load == 1.0 or quick:
            _report_bottleneck(report, f"{title} at {load:.0%}", case, outcome, fleet)
    if front.token_s:
        mean = case.lengths.answer * math.exp(case.lengths.sigma**2 / 2)
        report.add(
            Row(
                f"{title}: carried by one HTTP application",
                1 / (front.request_s + mean * front.token_s),
                "requests/s",
            )
        )
    return Curve(title, case.first_s, case.gap_s, points)


def _report_bottleneck(
    report: Report, title: str, case: Case, outcome: FleetOutcome, fleet: int
) -> None:
    """Report how full a fleet is: of time, of a step's tokens and sequences, of the cache."""
    limits, steps = case.replica.config, max(outcome.steps, 1)
    queued = sum(outcome.queued_s) / max(len(outcome.queued_s), 1)
    tokens = outcome.step_tokens / steps / limits.max_step_tokens
    sequences = outcome.step_sequences / steps / limits.max_sequences
    busy = outcome.busy_s / outcome.seconds / fleet
    report.add(Row(f"{title}: mean wait for the first step", 1e3 * queued, "ms"))
    report.add(Row(f"{title}: time in steps", busy, "of 1"))
    report.add(Row(f"{title}: tokens of a step", tokens, "of the most"))
    report.add(Row(f"{title}: sequences of a step", sequences, "of the most"))
    report.add(Row(f"{title}: preemptions, for the cache was full", outcome.preemptions, ""))


def report_check(report: Report, ingot: Path, replica: Replica, quick: bool) -> Replica:
    """Compare two real replicas with two simulated ones; return one of those simulated.

    They share this machine, so their steps cost what two servers have learnt under another load.
    """
    loads = _loads(replica, quick)
    lesson = poisson(_SHORT, statistics.fmean(loads), 10.0 if quick else 20.0, 7)
    shared = of_ingot(ingot, fleet_check.learnt(ingot, lesson, ingot.parent / "cache"))
    with fleet_check.two_servers(ingot) as servers:
        answered = [fleet_check.offer(servers, load) for load in loads.values()]
    for (rate, load), real in zip(loads.items(), answered, strict=True):
        said = simulate(load, shared, fleet_check.REPLICAS)
        name = f"two servers at {rate:.1f} requests/s"
        report.add(Row(f"{name}: failed", real.failed, "", bar="none", met=not real.failed))
        _compare(report, name, real, said, bar=True)
    return shared


def report_ray(report: Report, ingot: Path, replica: Replica, quick: bool) -> FrontCosts:
    """Report what Ray Serve and the HTTP application on it cost, and two replicas behind them.

    Where the machine has two cores, they and the replicas take time from each other, of which the
    simulation knows nothing.
    """
    loads = dict(list(_loads(replica, quick).items())[:1])
    with fleet_check.two_on_ray(ingot) as servers:
        front = fleet_check.front_costs(servers)
        answered = [fleet_check.offer(servers, load) for load in loads.values()]
    report.add(Row("HTTP application on Ray: CPU of a request", 1e3 * front.request_s, "ms"))
    report.add(Row("HTTP application on Ray: CPU of a token", 1e3 * front.token_s, "ms"))
    for (rate, load), real in zip(loads.items(), answered, strict=True):
        said = simulate(load, replica, fleet_check.REPLICAS, front=front)
        _compare(report, f"two on Ray at {rate:.1f} requests/s", real, said, bar=False)
    return front


def _loads(replica: Replica, quick: bool) -> dict[float, list[Arrival]]:
    """Return requests to send, by how many come in a second."""
    seconds = 10.0 if quick else 25.0
    guess = _guess(Case("", replica, _SHORT, 1.0, 0.1, seconds))
    rates = [share * 2 * guess * fleet_check.REPLICAS for share in _CHECKED]
    return {rate: poisson(_SHORT, rate, seconds, 1) for rate in rates}


def _compare(
    report: Report, name: str, real: fleet_check.Offered, said: FleetOutcome, *, bar: bool
) -> None:
    """Report real figures beside simulated ones."""
    figures = [("tokens", "per s", real.token_rate, said.tokens / said.seconds)]
    for what, own, simulated in (
        ("first token", real.first_s, said.first_s),
        ("between tokens", real.gaps_s, said.gaps_s),
    ):
        for percent in (50, 99):
            pair = (1e3 * percentile(own, percent), 1e3 * percentile(simulated, percent))
            figures.append((f"{what} p{percent}", "ms", *pair))
    for what, unit, own_figure, figure in figures:
        ratio = figure / own_figure
        verdict = (f"within {WITHIN:.0%}", abs(ratio - 1) <= WITHIN) if bar else (None, None)
        report.add(
            Row(
                f"{name}: {what}",
                own_figure,
                unit,
                peer="simulated",
                peer_value=figure,
                ratio=ratio,
                bar=verdict[0],
                met=verdict[1],
            )
        )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark."""
    parser = arguments("scale", str(__doc__).partition("\n")[0])
    parser.add_argument("--plot", type=Path, metavar="FILE", help="also draw the tails, as PNG")
    parser.add_argument("--check", action="store_true", help="compare with real replicas alone")
    asked = parser.parse_args(argv)
    fleet, seconds = (4, 3.0) if asked.quick else (FLEET, 9.0)
    report = Report("scale", {"fleet": fleet, "quick": asked.quick}, ("ingot", "simpy", "ray"))
    curves = []
    with tempfile.TemporaryDirectory() as folder:
        ingot = make_served_model(Path(folder), "int8")
        replica = measured(ingot, seconds)
        shared = report_check(report, ingot, replica, asked.quick)
        front = FrontCosts()
        if find_spec("ray") is None:
            report.note("without Ray: what the HTTP application costs there is not measured")
        else:
            front = report_ray(report, ingot, shared, asked.quick)
    # Each replica of a fleet is taken to have its own machine: steps as one alone has them.
    for case in () if asked.check else cases(replica, asked.quick):
        curves.append(report_case(report, case, front, fleet, asked.quick))
    if asked.plot:
        draw_curves(curves, asked.plot)
    return report.finish(asked.json)


if __name__ == "__main__":
    sys.exit(main())
