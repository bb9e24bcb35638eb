"""Cost and capacity of the server.

``python -m benchmarks.serve [--quick] [--json FILE] [--plot FILE] [--only PART ...]``. Models
with random weights are made here; their answers are as long as asked, so what is
measured does not depend on what they say. Client and server share the machine. Other servers
take part where ``python -m benchmarks.peers install`` put them.
"""

from __future__ import annotations

import queue
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from benchmarks import load_scenarios
from benchmarks.batches import measure_batches
from benchmarks.closed_loop import measure_closed_loop
from benchmarks.http_load import all_at_once, percentile, run
from benchmarks.objective_loads import measure_objectives
from benchmarks.report import Report, Row, arguments, in_turn, median_and_spread
from benchmarks.serving import (
    FULL,
    QUICK,
    Served,
    Sizes,
    make_model,
    make_served_model,
    serving,
    serving_nothing,
)
from ingot.api.inference import load
from ingot.inference import EngineConfig, SamplingParams

PARTS = ("cost", "null", "loop", "streams", "prefix", "overload", "objectives", "batches", "soak")
MOST_COST = 0.10
LEAST_NULL_RATE = 60_000


def offline_rate(ingot: Path, prompts: list[str], tokens: int) -> float:
    """Return the tokens per second of the engine alone."""
    with load(ingot, engine=EngineConfig(prefix_cache=False)) as model:
        params = SamplingParams(max_tokens=tokens, temperature=0.0, ignore_eos=True)
        ended: queue.SimpleQueue[str] = queue.SimpleQueue()
        encoded = [model.ingot.tokenizer.encode(prompt) for prompt in prompts]
        began = time.perf_counter()
        for ids in encoded:
            model.loop.submit(
                ids,
                params,
                lambda delta: ended.put(delta.finish_reason) if delta.finish_reason else None,
            )
        for _ in prompts:
            ended.get(timeout=600)
        return len(prompts) * tokens / (time.perf_counter() - began)


def http_rate(served: Served, prompts: list[str], tokens: int) -> float:
    """Return the tokens per second that arrive as streams."""
    began = time.perf_counter()
    exchanges = run(all_at_once(served.url, [served.completion(p, tokens) for p in prompts]))
    seconds = time.perf_counter() - began
    if not all(exchange.complete for exchange in exchanges):
        raise RuntimeError("a stream broke off")
    return sum(int(exchange.usage["completion_tokens"]) for exchange in exchanges) / seconds


def measure_cost(report: Report, ingot: Path, sizes: Sizes, *, bars: bool) -> None:
    """Compare 64 streams over HTTP with the engine alone; the client takes part of the machine."""
    prompts = [f"def function_{number}(value):\n" for number in range(64)]
    with serving(ingot, "engine.prefix_cache=false") as served:
        http_rate(served, prompts[:4], 8)
        figures = in_turn(
            {
                "engine": lambda: offline_rate(ingot, prompts, sizes.tokens),
                "http": lambda: http_rate(served, prompts, sizes.tokens),
            },
            sizes.repeats,
        )
    engine, _ = median_and_spread(figures["engine"])
    value, spread = median_and_spread(figures["http"])
    report.add(
        Row(
            f"64 streams over HTTP, {ingot.stem}",
            value,
            "tokens/s",
            spread,
            limit=engine,
            share=value / engine,
            bar=f"≥ {1 - MOST_COST:.0%} of the engine alone" if bars else None,
            met=value >= (1 - MOST_COST) * engine if bars else None,
        )
    )


def measure_costs(report: Report, served: Path, small: Path, sizes: Sizes) -> None:
    """Measure a model of a size that people serve, and one so small that HTTP is most of it."""
    measure_cost(report, served, replace(sizes, tokens=sizes.tokens // 4), bars=True)
    measure_cost(report, small, sizes, bars=False)


def measure_overloads(report: Report, served: Path, small: Path, sizes: Sizes) -> None:
    """Overload an engine, and with a small model the server itself."""
    load_scenarios.measure_overload(report, served, sizes, bars=True)
    load_scenarios.measure_overload(report, small, sizes, bars=False)


def measure_null(report: Report, ingot: Path, sizes: Sizes) -> None:
    """Carry 256 streams of an engine that costs nothing."""
    prompts = ["def"] * 256
    with serving_nothing(ingot) as served:
        http_rate(served, prompts[:4], 50)
        rates = [http_rate(served, prompts, sizes.null_tokens) for _ in range(sizes.repeats)]
        paced = run(
            all_at_once(served.url, [served.completion(p, sizes.null_tokens) for p in prompts])
        )
    value, spread = median_and_spread(rates)
    report.add(
        Row(
            "256 streams, null engine",
            value,
            "tokens/s",
            spread,
            bar=f"≥ {LEAST_NULL_RATE:,} tokens/s",
            met=value >= LEAST_NULL_RATE,
        )
    )
    chunks = sum(len(exchange.events()) for exchange in paced)
    seconds = max(e.ended for e in paced) - min(e.began for e in paced)
    report.add(Row("  of these, events", chunks / seconds, "events/s"))
    waits = [exchange.first_s for exchange in paced]
    report.add(Row("  first token, p99", 1e3 * percentile(waits, 99), "ms"))


def main() -> int:
    """Measure everything; return 0 if every bar is met."""
    parser = arguments("serve", "Cost and capacity of the server.")
    parser.add_argument("--soak", type=float, metavar="SECONDS", help="length of the soak")
    parser.add_argument("--plot", type=Path, help="where to draw the closed loops (.png)")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, metavar="PART")
    chosen = parser.parse_args()
    sizes = QUICK if chosen.quick else FULL
    soak_s = chosen.soak or sizes.soak_s
    report = Report(
        "serve",
        {"quick": chosen.quick, "soak_s": soak_s, "parts": list(chosen.only)},
        ("ingot", "starlette", "uvicorn", "uvloop"),
    )
    with tempfile.TemporaryDirectory(prefix="ingot-serve-") as name:
        folder = Path(name)
        small = make_model(folder, "small", 64, 2, 2048)
        larger = make_model(folder, "larger", 256, 4, 2048)
        parts: dict[str, Callable[[], None]] = {
            "cost": lambda: measure_costs(report, make_served_model(folder, "int8"), larger, sizes),
            "null": lambda: measure_null(report, small, sizes),
            "loop": lambda: measure_closed_loop(report, folder, sizes, chosen.plot),
            "streams": lambda: load_scenarios.measure_open_streams(report, small, sizes),
            "prefix": lambda: load_scenarios.measure_shared_prefix(report, larger, sizes),
            "overload": lambda: measure_overloads(
                report, make_served_model(folder, "int8"), small, sizes
            ),
            "objectives": lambda: measure_objectives(
                report, make_served_model(folder, "int8"), sizes
            ),
            "batches": lambda: measure_batches(report, make_served_model(folder, "int8"), sizes),
            "soak": lambda: load_scenarios.measure_soak(report, small, soak_s),
        }
        for part in chosen.only:
            parts[part]()
    return report.finish(chosen.json)


if __name__ == "__main__":
    sys.exit(main())
