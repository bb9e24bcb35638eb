"""Overload of a server with latency objectives: goodput, attainment and refusals at each load."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.http_load import Exchange, ask, percentile, run
from benchmarks.report import Report, Row
from benchmarks.serving import SERVED_VOCABULARY, Served, Sizes, serving
from ingot.inference import Objective
from ingot.inference.request.objective import Timeliness

OBJECTIVE = Objective(1.0, 0.05)
LOADS = (1, 2, 4, 16)
BURSTINESS = (1.0, 0.3)
PROMPTS, ANSWERS = (32, 64, 128, 256, 512), (16, 32, 64, 128)
HANG_UPS = 0.3
LEAST_GOODPUT, LEAST_IN_TIME, MOST_REFUSAL_MS = 0.90, 0.99, 10.0
_CLIENTS = 48
_PAUSE_S = 0.2
_TAIL_S = 1.0
"""Seconds without load between two runs."""


@dataclass(frozen=True)
class _Run:
    """Results of one load."""

    offered: float
    """Requests per second."""
    goodput: float
    """Answers in time, per second."""
    goodput_by_mean: float
    """The same where the mean time between tokens counts, as for ``vllm bench serve``."""
    answered: int
    in_time: int
    refused: int
    refusal_ms: float
    """99th percentile; 0 without any."""
    failed: int


def measure_objectives(report: Report, ingot: Path, sizes: Sizes) -> None:
    """Offer 1 to 16 times what the server can carry, in Poisson and in bursty arrivals."""
    chosen = ("--objective", str(OBJECTIVE))
    with serving(ingot, options=chosen) as served:
        run(_capacity(served, sizes.objective_s))  # connections, costs and forecasts settle
        capacity = max(run(_capacity(served, sizes.objective_s)), 0.5)
        report.add(Row(f"objectives {OBJECTIVE}: capacity", capacity, "requests/s"))
        runs: dict[tuple[float, int], _Run] = {}
        for burstiness in BURSTINESS:
            for load in LOADS:
                time.sleep(_TAIL_S)
                runs[burstiness, load] = _measure(
                    served, load * capacity, burstiness, sizes.objective_s
                )
                _report(report, f"{load}x, burstiness {burstiness:g}", runs[burstiness, load])
        error = served.metric("ingot:step_prediction_error")
        well = served.metric("ingot:engine_failed") == 0
        left = served.metric("ingot:open_requests") + served.metric("ingot:open_tokens")
    _judge(report, runs)
    report.add(Row("  step prediction, mean relative error", 100 * error, "%"))
    report.add(Row("  left behind", left, "", bar="nothing", met=left == 0 and well))


def _report(report: Report, title: str, one: _Run) -> None:
    report.add(Row(f"{title}: offered", one.offered, "requests/s"))
    report.add(Row(f"{title}: goodput", one.goodput, "requests/s"))
    report.add(Row(f"{title}: goodput by mean time", one.goodput_by_mean, "requests/s"))
    report.add(Row(f"{title}: refused", one.refused, "requests"))
    report.add(Row(f"{title}: refusal p99, client's share included", one.refusal_ms, "ms"))
    report.add(Row(f"{title}: in time of answered", one.in_time / max(one.answered, 1), "of 1"))
    report.add(Row(f"{title}: failed", one.failed, "requests", bar="none", met=one.failed == 0))


def _judge(report: Report, runs: dict[tuple[float, int], _Run]) -> None:
    """Add the rows that have bars."""
    for burstiness in BURSTINESS:
        goodput = [runs[burstiness, load].goodput for load in LOADS]
        kept = least_kept(goodput)
        report.add(
            Row(
                f"burstiness {burstiness:g}: least goodput of the best at a lower load",
                kept,
                "of 1",
                bar=f"≥ {LEAST_GOODPUT:.0%}",
                met=kept >= LEAST_GOODPUT,
            )
        )
        # Overload may also raise it: among more requests more short ones can be in time.
        best = max(goodput)
        title = f"burstiness {burstiness:g}: least goodput of the best at any load, 1x aside"
        report.add(Row(title, min(goodput[1:]) / best if best else 0.0, "of 1"))
    answered = sum(one.answered for one in runs.values())
    in_time = sum(one.in_time for one in runs.values()) / max(answered, 1)
    report.add(
        Row(
            "in time of all answered",
            in_time,
            "of 1",
            bar=f"≥ {LEAST_IN_TIME:.0%}",
            met=in_time >= LEAST_IN_TIME,
        )
    )
    slowest = max(one.refusal_ms for one in runs.values())
    report.add(
        Row(
            "refusal, p99 at the worst load",
            slowest,
            "ms",
            bar=f"≤ {MOST_REFUSAL_MS:g} ms",
            met=slowest <= MOST_REFUSAL_MS,
        )
    )


def least_kept(goodput: Sequence[float]) -> float:
    """Return the least share of its best so far that goodput falls to as the load grows."""
    best, kept = 0.0, 1.0
    for one in goodput:
        kept = min(kept, one / best) if best else kept
        best = max(best, one)
    return kept if best else 0.0


async def _capacity(served: Served, seconds: float) -> float:
    """Return the requests per second that are answered in time where clients always wait."""
    end = time.perf_counter() + seconds
    done: list[Exchange] = []

    async def client(number: int) -> None:
        chance = random.Random(number)
        while time.perf_counter() < end:
            exchange = await ask(served.url, _request(served, chance))
            done.append(exchange)
            if exchange.status == 429:
                await asyncio.sleep(_PAUSE_S)

    await asyncio.gather(*(client(number) for number in range(_CLIENTS)))
    return sum(map(is_in_time, done)) / seconds


def _measure(served: Served, rate: float, burstiness: float, seconds: float) -> _Run:
    offered = run(_offer(served, rate, burstiness, seconds))
    stayed = [exchange for exchange, leaves in offered if not leaves]
    answered = [exchange for exchange in stayed if exchange.complete]
    refused = [exchange for exchange, _ in offered if exchange.status == 429]
    failed = [one for one in stayed if not one.complete and one.status != 429]
    in_time = sum(map(is_in_time, answered))
    by_mean = sum(map(_is_in_time_by_mean, answered))
    return _Run(
        len(offered) / seconds,
        in_time / seconds,
        by_mean / seconds,
        len(answered),
        in_time,
        len(refused),
        1e3 * percentile([one.seconds for one in refused], 99) if refused else 0.0,
        len(failed),
    )


async def _offer(
    served: Served, rate: float, burstiness: float, seconds: float
) -> list[tuple[Exchange, bool]]:
    """Send requests whatever becomes of them; the times between them have a gamma distribution.

    Returns:
        Each exchange, and whether its client was to hang up.
    """
    chance = random.Random(f"{rate} {burstiness}")
    under_way: list[asyncio.Task[Exchange]] = []
    leaving: list[bool] = []
    began = due = time.perf_counter()
    while (due := due + chance.gammavariate(burstiness, 1 / (rate * burstiness))) < began + seconds:
        leaves = chance.random() < HANG_UPS
        hang_up_s = chance.uniform(0.05, 1.0) if leaves else None
        request = _request(served, chance)
        if (wait := due - time.perf_counter()) > 0:
            await asyncio.sleep(wait)
        under_way.append(asyncio.ensure_future(ask(served.url, request, hang_up_s)))
        leaving.append(leaves)
    return list(zip(await asyncio.gather(*under_way), leaving, strict=True))


def _request(served: Served, chance: random.Random) -> dict[str, Any]:
    prompt = [chance.randrange(300, SERVED_VOCABULARY) for _ in range(chance.choice(PROMPTS))]
    return served.completion(prompt, chance.choice(ANSWERS))


def is_in_time(exchange: Exchange) -> bool:
    """Return whether an answer kept the objective by the client's clock, as the server counts."""
    if not exchange.complete or not exchange.times:
        return False
    # The last two events are usage and [DONE], which come with the last token.
    kept = Timeliness(OBJECTIVE, exchange.began, len(exchange.times))
    for at in exchange.times:
        kept.token(at)
    return kept.in_time


def _is_in_time_by_mean(exchange: Exchange) -> bool:
    gaps = [later - earlier for earlier, later in pairwise(exchange.times)]
    mean = sum(gaps) / max(int(exchange.usage.get("completion_tokens", 2)) - 1, 1)
    return exchange.first_s <= (OBJECTIVE.ttft_s or math.inf) and mean <= (
        OBJECTIVE.itl_s or math.inf
    )
