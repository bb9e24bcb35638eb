"""What a batch costs the requests that clients wait for: latency with and without one running.

Phases with and without a batch of 10,000 requests take turns on one server, under the same
arrivals: at random, at a share of what one request at a time would fill. Between phases the batch
is cancelled and a new one begun, from the same file.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import orjson

from benchmarks.http_load import Exchange, ask, percentile, run
from benchmarks.report import Report, Row
from benchmarks.serving import Served, Sizes, serving

LINES = 10_000
MOST_RATIO = 1.05
_ANSWER_TOKENS = 32
_LOADS = (0.3, 0.8)
"""Shares of the time that a single stream would be busy."""
_PHASES = 5
"""Pairs of phases for each repeat."""


@dataclass
class _Latencies:
    """Seconds of one side, of all phases."""

    first: list[float] = field(default_factory=list)
    between: list[float] = field(default_factory=list)

    def add(self, exchange: Exchange) -> None:
        if not exchange.complete:
            raise RuntimeError("a stream broke off")
        self.first.append(exchange.first_s)
        self.between += [later - sooner for sooner, later in pairwise(exchange.times)]


def measure_batches(report: Report, ingot: Path, sizes: Sizes) -> None:
    """Measure time to first token and between tokens, each at two loads."""
    with (
        tempfile.TemporaryDirectory(prefix="ingot-batches-") as folder,
        serving(ingot, f"server.batches={folder}", "engine.prefix_cache=false") as served,
        httpx.Client(base_url=served.url, timeout=60) as http,
    ):
        file_id = _upload(http, served)
        alone_s = median(
            run(ask(served.url, _request(served, number))).seconds for number in range(5)
        )
        report.note(f"one request alone takes {1e3 * alone_s:.0f} ms")
        for load in _LOADS:
            sides = {False: _Latencies(), True: _Latencies()}
            answered, seconds = 0, 0.0
            for phase in range(_PHASES * sizes.repeats):
                for beside in (False, True) if phase % 2 else (True, False):
                    with _batch(http, file_id, beside=beside) as counted:
                        before, began = counted(), time.perf_counter()
                        arrivals = _arrivals(phase, load / alone_s, sizes.loop_s)
                        for exchange in run(_ask_at(served, arrivals)):
                            sides[beside].add(exchange)
                        if beside:
                            answered += counted() - before
                            seconds += time.perf_counter() - began
            _report_load(report, load, sides)
            report.add(Row(f"  the batch, at a load of {load:g}", answered / seconds, "requests/s"))


def _report_load(report: Report, load: float, sides: dict[bool, _Latencies]) -> None:
    for name, attribute in (("first token", "first"), ("between tokens", "between")):
        for percent in (50, 99):
            without, beside = (
                1e3 * percentile(getattr(sides[side], attribute), percent) for side in (False, True)
            )
            bar = percent == 99
            report.add(
                Row(
                    f"{name}, p{percent}, load {load:g}, beside a batch of {LINES}",
                    beside,
                    "ms",
                    peer=f"without ({len(getattr(sides[False], attribute))} samples)",
                    peer_value=without,
                    ratio=without / beside,
                    bar=f"≤ {MOST_RATIO:g} times without" if bar else None,
                    met=beside <= MOST_RATIO * without if bar else None,
                )
            )


def _request(served: Served, number: int) -> dict[str, Any]:
    return served.completion(f"def function_{number}(value):\n" * 8, _ANSWER_TOKENS)


def _arrivals(seed: int, per_s: float, seconds: float) -> list[float]:
    """Return the times of a Poisson process, in seconds; of both sides of a pair the same."""
    draw, times = random.Random(seed), [0.0]
    while times[-1] < seconds:
        times.append(times[-1] + draw.expovariate(per_s))
    return times[1:-1] or [0.1]


async def _ask_at(served: Served, arrivals: list[float]) -> list[Exchange]:
    async def one(number: int, at: float) -> Exchange:
        await asyncio.sleep(at)
        return await ask(served.url, _request(served, number))

    return list(await asyncio.gather(*(one(*entry) for entry in enumerate(arrivals))))


def _upload(http: httpx.Client, served: Served) -> str:
    lines = (
        {
            "custom_id": f"r{number}",
            "method": "POST",
            "url": "/v1/completions",
            "body": {
                "model": served.model,
                "prompt": f"class Number{number}:\n" * 8,
                "max_tokens": _ANSWER_TOKENS,
                "ignore_eos": True,
                "temperature": 0,
            },
        }
        for number in range(LINES)
    )
    content = b"\n".join(map(orjson.dumps, lines))
    answer = http.post("/v1/files", files={"file": ("in", content)}, data={"purpose": "batch"})
    return str(answer.raise_for_status().json()["id"])


@contextmanager
def _batch(http: httpx.Client, file_id: str, *, beside: bool) -> Iterator[_Counter]:
    """Run a batch inside the block, if there is to be one; it runs by the time it begins."""
    if not beside:
        yield _Counter(http, None)
        return
    body = {
        "input_file_id": file_id,
        "endpoint": "/v1/completions",
        "completion_window": "24h",
    }
    batch_id = http.post("/v1/batches", json=body).raise_for_status().json()["id"]
    counter = _Counter(http, batch_id)
    counter.wait("in_progress")
    time.sleep(1)  # until its first requests are in the engine
    try:
        yield counter
    finally:
        http.post(f"/v1/batches/{batch_id}/cancel").raise_for_status()
        counter.wait("cancelled")


class _Counter:
    """Counts the answered requests of a batch."""

    def __init__(self, http: httpx.Client, batch_id: str | None) -> None:
        self._http = http
        self._batch_id = batch_id

    def __call__(self) -> int:
        """Return how many are answered."""
        return int(self._described()["request_counts"]["completed"]) if self._batch_id else 0

    def wait(self, status: str) -> None:
        """Wait for a state of the batch.

        Raises:
            RuntimeError: it is not reached within two minutes.
        """
        for _ in range(1200):
            if self._described()["status"] == status:
                return
            time.sleep(0.1)
        raise RuntimeError(f"the batch is not {status}")

    def _described(self) -> dict[str, Any]:
        answer = self._http.get(f"/v1/batches/{self._batch_id}")
        described: dict[str, Any] = answer.raise_for_status().json()
        return described
