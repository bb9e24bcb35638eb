"""Load scenarios of a server: open streams, shared prefixes, overload and a soak test."""

from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path
from typing import Any

from benchmarks.http_load import Exchange, all_at_once, ask, closed_loop, percentile, run
from benchmarks.report import Report, Row
from benchmarks.serving import Served, Sizes, serving
from ingot.api.inference import load
from ingot.inference import EngineConfig

LEAST_PREFIX_RATIO = 5.0
MOST_REJECTION_MS = 10.0
MOST_FIRST_TOKEN_S = 5.0


def measure_open_streams(report: Report, ingot: Path, sizes: Sizes) -> None:
    """Open thousands of streams at once and compare each with the offline answer."""
    count, tokens = sizes.streams, 24
    prompts = [f"def f{number}(x):\n" for number in range(count)]
    settings = (
        "engine.max_waiting=10000",
        "engine.max_sequences=256",
        "server.max_open_tokens=1000000000",
    )
    with serving(ingot, *settings) as served:
        run(all_at_once(served.url, [served.completion(p, 2) for p in prompts[:64]]))
        before = served.resident_bytes()
        requests = [served.completion(prompt, tokens) for prompt in prompts]
        exchanges, late = run(_with_a_late_one(served, requests, tokens))
        held = served.resident_bytes()
        free = served.metric("vllm:num_requests_running") + served.metric("ingot:open_requests")
    with load(ingot, engine=EngineConfig(max_waiting=count)) as model:
        own = {
            prompt: model.generate(prompt, max_tokens=tokens, temperature=0.0, ignore_eos=True).text
            for prompt in prompts
        }
    wrong = sum(
        not exchange.complete or exchange.text != own[prompt]
        for prompt, exchange in zip(prompts, exchanges, strict=True)
    )
    report.add(
        Row(
            f"{count} open streams, not the offline answer",
            wrong,
            "streams",
            bar="none",
            met=wrong == 0,
        )
    )
    report.add(Row("  memory above before", (held - before) / 1e6, "MB"))
    report.add(Row("  left open afterwards", free, "requests", bar="none", met=free == 0))
    report.add(
        Row(
            "  a new, urgent request's first token",
            late.first_s,
            "s",
            bar=f"≤ {MOST_FIRST_TOKEN_S:g} s",
            met=late.complete and late.first_s <= MOST_FIRST_TOKEN_S,
        )
    )


async def _with_a_late_one(
    served: Served, requests: list[dict[str, Any]], tokens: int
) -> tuple[list[Exchange], Exchange]:
    """Send all requests at once, and one of higher priority while they run."""
    many = asyncio.ensure_future(all_at_once(served.url, requests))
    await asyncio.sleep(1.0)
    late = await ask(served.url, served.completion("late", tokens, priority=-1))
    return await many, late


def measure_shared_prefix(report: Report, ingot: Path, sizes: Sizes) -> None:
    """Measure 64 clients that share a prefix of 1,000 tokens, with and without the prefix cache."""
    clients = min(64, max(sizes.clients))
    seconds: dict[str, float] = {}
    texts: dict[str, list[str]] = {}
    with load(ingot) as model:
        words = model.ingot.tokenizer.encode("return value * width + height\n" * 300)[:1000]
        prefix = model.ingot.tokenizer.decode(words)
    for cached in ("false", "true"):
        with serving(ingot, f"engine.prefix_cache={cached}") as served:
            run(all_at_once(served.url, [served.completion(prefix, 1)]))
            requests = [served.completion(f"{prefix} {n}", 4) for n in range(clients)]
            began = time.perf_counter()
            exchanges = run(all_at_once(served.url, requests))
            seconds[cached] = time.perf_counter() - began
            texts[cached] = [exchange.text for exchange in exchanges]
    ratio = seconds["false"] / seconds["true"]
    report.add(
        Row(
            f"{clients} prompts that share 1,000 tokens",
            seconds["true"],
            "s",
            peer="without the cache",
            peer_value=seconds["false"],
            ratio=ratio,
            bar=f"≥ {LEAST_PREFIX_RATIO:g}x faster",
            met=ratio >= LEAST_PREFIX_RATIO,
        )
    )
    same = texts["true"] == texts["false"]
    report.add(Row("  answers that are the same", float(same), "of 1", bar="all", met=same))


def measure_overload(report: Report, ingot: Path, sizes: Sizes, *, bars: bool) -> None:
    """Send twice the load that the server can carry, while 30% of the clients disconnect."""
    limits = ("server.max_open_requests=64", "engine.max_sequences=32")
    with serving(ingot, *limits) as served:

        def fields(number: int) -> dict[str, Any]:
            return served.completion(f"# {number}\n", 64)

        began = time.perf_counter()
        warm = run(closed_loop(served.url, 48, sizes.overload_s / 3, fields))
        capacity = sum(each.complete for each in warm) / (time.perf_counter() - began)
        exchanges = run(_offer(served, 2 * max(capacity, 1.0), sizes.overload_s))
        time.sleep(0.5)
        left = served.metric("ingot:open_requests") + served.metric("ingot:open_tokens")
        used = served.metric("vllm:num_requests_running")
        well = served.metric("ingot:engine_failed") == 0
    refused = [exchange for exchange in exchanges if exchange.status == 429]
    answered = [exchange for exchange in exchanges if exchange.complete]
    report.add(Row(f"2x overload, {ingot.stem}: answered", len(answered), "requests"))
    report.add(Row("  refused", len(refused), "requests"))
    if refused:
        slowest = 1e3 * percentile([exchange.seconds for exchange in refused], 99)
        report.add(
            Row(
                "  refusal, p99, client's share included",
                slowest,
                "ms",
                bar=f"≤ {MOST_REJECTION_MS:g} ms" if bars else None,
                met=slowest <= MOST_REJECTION_MS if bars else None,
            )
        )
    if answered:
        first = percentile([exchange.first_s for exchange in answered], 99)
        report.add(
            Row(
                "  first token of the accepted, p99",
                first,
                "s",
                bar=f"≤ {MOST_FIRST_TOKEN_S:g} s",
                met=first <= MOST_FIRST_TOKEN_S,
            )
        )
    clean = left == used == 0 and well  # idle, the engine proves that no block is lost, or fails
    report.add(Row("  left behind", left + used, "", bar="nothing", met=clean))


async def _offer(served: Served, per_second: float, seconds: float) -> list[Exchange]:
    """Send requests at a constant rate, regardless of their outcome; 30% disconnect early."""
    chance = random.Random(0)
    under_way: list[asyncio.Task[Exchange]] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        hang_up = chance.uniform(0.01, 0.3) if chance.random() < 0.3 else None
        request = served.completion(f"# {len(under_way)}\n", 64)
        under_way.append(asyncio.ensure_future(ask(served.url, request, hang_up)))
        await asyncio.sleep(chance.expovariate(per_second))
    return list(await asyncio.gather(*under_way))


def measure_soak(report: Report, ingot: Path, seconds: float) -> None:
    """Mix valid, invalid and aborted requests for a while and measure the memory."""
    chance = random.Random(1)

    def fields(number: int) -> dict[str, Any]:
        request = served.completion("x " * chance.randrange(1, 400), chance.randrange(1, 64))
        kind = chance.random()
        if kind < 0.1:
            return request | {"temperature": -1}
        if kind < 0.2:
            return request | {"structured_outputs": {"regex": "[a-z]{2,9}"}}
        return request | {"temperature": chance.uniform(0, 2), "seed": number}

    with serving(ingot, "server.max_open_requests=48") as served:
        run(closed_loop(served.url, 32, seconds / 4, fields))
        before = served.resident_bytes()
        done = run(closed_loop(served.url, 32, 3 * seconds / 4, fields))
        grown = (served.resident_bytes() - before) / before
        well = served.metric("ingot:engine_failed") == 0
        left = served.metric("ingot:open_requests")
    broken = sum(exchange.status not in (200, 400, 429) for exchange in done)
    report.add(
        Row(
            f"soak of {seconds:g} s: memory grown",
            100 * grown,
            "%",
            bar="≤ 5%",
            met=grown <= 0.05 and well,
        )
    )
    report.add(
        Row("  requests", len(done), "", bar="none fails or is left open", met=broken == 0 == left)
    )
