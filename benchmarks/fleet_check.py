"""Two real replicas under an open load: two servers, or two replicas on Ray Serve."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Iterator
from collections.abc import Sequence as Seq
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from benchmarks.fleet import Arrival, FrontCosts
from benchmarks.http_load import Exchange, ask, run
from benchmarks.serving import Served, serving
from ingot.inference.scheduling.cost_model import CostModel
from ingot.inference.scheduling.kept_costs import read_costs

REPLICAS = 2
_ON_RAY = ("--cluster", "local", "--replicas", str(REPLICAS), "--threads", "1")
_SETTINGS = ("engine.prefix_cache=false",)
_VOCABULARY = 4000
_FRONT = ("ray::ServeReplica:ingot:", "ray::ProxyActor")
_WARM = [Arrival(number / 4, 64, 16) for number in range(8)]


@dataclass(frozen=True)
class Offered:
    """What became of requests that were sent at their times."""

    first_s: list[float]
    """To the first token."""
    gaps_s: list[float]
    """Between two events of an answer."""
    tokens: int
    seconds: float
    failed: int
    front_s: float
    """Seconds of CPU of the HTTP application and Ray's proxy."""

    @property
    def token_rate(self) -> float:
        """Tokens per second, from the first request to the last answer."""
        return self.tokens / self.seconds


@contextlib.contextmanager
def two_servers(ingot: Path, *options: str) -> Iterator[list[Served]]:
    """Run two servers inside the block, each with one thread; requests go to the less busy one."""
    with contextlib.ExitStack() as stack:
        settings = (*_SETTINGS, "engine.threads=1")
        servers = [
            stack.enter_context(serving(ingot, *settings, options=options)) for _ in range(REPLICAS)
        ]
        run(_send(servers, _WARM))
        yield servers


def learnt(ingot: Path, load: Seq[Arrival], cache: Path) -> CostModel:
    """Return what steps cost two servers that share this machine, as they learn it under a load.

    A server learns with an objective, here one that nothing misses, and keeps it in its cache
    folder when it ends.
    """
    os.environ["XDG_CACHE_HOME"] = str(cache.absolute())
    with two_servers(ingot, "--objective", "ttft=3600s,itl=60s") as servers:
        offer(servers, load)
    (kept,) = (cache / "ingot" / "costs").iterdir()
    found = read_costs(kept)
    if found is None:
        raise RuntimeError(f"{kept} holds no costs")
    return found


@contextlib.contextmanager
def two_on_ray(ingot: Path) -> Iterator[list[Served]]:
    """Run one server with two replicas on Ray inside the block, each with one thread."""
    # Ray lowers its workers' priority, by which whatever else runs would slow them alone.
    os.environ.setdefault("RAY_worker_niceness", "0")
    with serving(ingot, *_SETTINGS, options=_ON_RAY) as served:
        run(_send([served], _WARM))
        yield [served]


def front_costs(servers: Seq[Served]) -> FrontCosts:
    """Measure what the HTTP application costs, from long answers and from short ones.

    Seconds are of the application and of Ray's proxy before it together, which are two processes:
    what each costs is less.
    """
    long = [Arrival(number / 4, 16, 96) for number in range(16)]
    short = [Arrival(number / 16, 16, 2) for number in range(64)]
    first, second = offer(servers, long), offer(servers, short)
    # Two loads, two unknown costs: seconds = requests * request_s + tokens * token_s.
    loads = [[len(long), first.tokens], [len(short), second.tokens]]
    request_s, token_s = np.linalg.solve(loads, [first.front_s, second.front_s]).tolist()
    return FrontCosts(max(request_s, 0.0), max(token_s, 0.0))


def offer(servers: Seq[Served], load: Seq[Arrival]) -> Offered:
    """Send requests at their times, each to the least busy server; return what became of them."""
    before, began = _front_seconds(), time.perf_counter()
    exchanges = run(_send(servers, load))
    seconds = max(one.ended for one in exchanges) - began
    used = _front_seconds() - before
    done = [one for one in exchanges if one.complete]
    # The last event only ends the stream.
    gaps = [later - sooner for one in done for sooner, later in pairwise(one.times[:-1])]
    tokens = sum(int(one.usage["completion_tokens"]) for one in done)
    first = [one.first_s for one in done]
    return Offered(first, gaps, tokens, seconds, len(exchanges) - len(done), used)


async def _send(servers: Seq[Served], load: Seq[Arrival]) -> list[Exchange]:
    began = time.perf_counter()
    under_way = [0] * len(servers)

    async def one(number: int, arrival: Arrival) -> Exchange:
        await asyncio.sleep(max(began + arrival.at_s - time.perf_counter(), 0.0))
        ids = [(number * 7919 + at * 104_729) % _VOCABULARY for at in range(arrival.prompt)]
        chosen = under_way.index(min(under_way))
        under_way[chosen] += 1
        try:
            served = servers[chosen]
            return await ask(served.url, served.completion(ids, arrival.answer))
        finally:
            under_way[chosen] -= 1

    return list(await asyncio.gather(*(one(*each) for each in enumerate(load))))


def _front_seconds() -> float:
    """Return the seconds of CPU that the HTTP application and Ray's proxy have taken."""
    total = 0
    for folder in Path("/proc").iterdir():
        try:
            name = (folder / "cmdline").read_bytes().decode(errors="replace")
            fields = (folder / "stat").read_bytes().rpartition(b") ")[2].split()
        except OSError:
            continue
        if name.startswith(_FRONT):
            total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")
