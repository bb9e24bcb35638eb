"""Speed of the native core beside the machine's limits and beside other engines.

``python -m benchmarks.engine [--quick] [--json FILE] [--plot FILE] [--shapes 100M 600M]``.
Models hold random weights, made here, the same for every engine. Other engines take part where
``python -m benchmarks.peers install`` put them; each is asked in turn with ours.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import engine_side
from benchmarks.engine_kernels import Limits, last_cache_bytes, measure_kernels
from benchmarks.engine_side import OurEngine
from benchmarks.peers.environments import ENVIRONMENTS, PEERS, Peer, export
from benchmarks.peers.process import PeerFailed, PeerProcess, first_token_s
from benchmarks.random_models import SHAPES, make_random_ingot, matrix_products
from benchmarks.report import Report, Row, arguments, in_turn, median_and_spread
from benchmarks.workloads import decode_rate, mixed_rate, prefill_rate
from ingot import native

MOST_OVERHEAD_S, MOST_OVERHEAD_SHARE = 50e-6, 0.05
MOST_EXTRA_BYTES = 150e6
_PEER_NAMES = sorted({peer.environment for peer in PEERS})
LEAST_SMALL_RATE = 5000.0
LEAST_START_RATIO = 2.0

PARTS = ("kernels", "small", "models", "peers")


@dataclass(frozen=True)
class Figure:
    """One workload that every engine runs, measured in tokens per second."""

    name: str
    do: str
    details: dict[str, int] = field(default_factory=dict)
    least: dict[str, float] = field(default_factory=dict)
    """Least ratio of our rate to the best peer's, by our format."""

    def ours(self, engine: OurEngine) -> float:
        """Measure our engine, in tokens per second."""
        rates: dict[str, Callable[..., float]] = {
            "prefill": prefill_rate,
            "decode": decode_rate,
            "mixed": mixed_rate,
        }
        return rates[self.do](engine, **self.details)


FIGURES = (
    Figure("prefill 512", "prefill", {"tokens": 512}, {"int8": 1.7}),
    Figure("decode B=1", "decode", {"sequences": 1}, {"int8": 1.4, "int4": 1.6}),
    Figure("decode B=8", "decode", {"sequences": 8}, {"int8": 1.7}),
    Figure("decode B=32", "decode", {"sequences": 32}, {"int8": 2.0}),
    Figure("decode B=64", "decode", {"sequences": 64}, {"int8": 2.0}),
    Figure("mixed", "mixed", {}, {"int8": 2.0}),
)


def main() -> int:
    """Run the benchmark; return 0 if every bar is met."""
    parser = arguments("engine", "Speed of the native core.")
    parser.add_argument("--shapes", nargs="+", choices=list(SHAPES), default=["100M", "600M"])
    parser.add_argument("--kinds", nargs="+", choices=["int8", "int4"], default=["int8", "int4"])
    parser.add_argument(
        "--figures",
        nargs="+",
        choices=["prefill", "decode", "mixed", "start"],
        default=["prefill", "decode", "mixed", "start"],
        help="measurements to compare",
    )
    parser.add_argument(
        "--peers", nargs="+", choices=_PEER_NAMES, default=_PEER_NAMES, metavar="PEER"
    )
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, metavar="PART")
    parser.add_argument("--repeats", type=int, default=3, help="repeats of each measurement")
    parser.add_argument("--plot", type=Path, help="where to draw the roofline (.png)")
    given = parser.parse_args()
    shapes = ["5M"] if given.quick else given.shapes
    repeats = 1 if given.quick else given.repeats
    report = Report(
        "engine",
        settings={
            "quick": given.quick,
            "shapes": shapes,
            "kernels": native.kernels()[0],
            "repeats": repeats,
        },
        packages=("ingot", "numpy"),
    )
    limits = Limits.measure()
    report.add(Row("int8 products at most", limits.byte_products / 1e9, "GMAC/s"))
    report.add(Row("memory read at most", limits.bandwidth / 1e9, "GB/s"))
    if "kernels" in given.only:
        measure_kernels(report, limits, given.plot)
    with tempfile.TemporaryDirectory(prefix="ingot-engine-") as name:
        folder = Path(name)
        if "small" in given.only:
            small = folder / "small"  # apart: with --quick the models part makes the same ingot
            small.mkdir()
            measure_small(report, make_random_ingot(small, "5M", "int8"))
        for shape in shapes if {"models", "peers"} & set(given.only) else ():
            ingots = {kind: make_random_ingot(folder, shape, kind) for kind in given.kinds}
            if "models" in given.only:
                for kind, path in ingots.items():
                    measure_model(report, limits, path, f"{shape} {kind}", shape, repeats)
            if "peers" in given.only and not given.quick:
                asked = Asked(shape, given.figures, limits.threads, repeats)
                compare(report, folder, ingots, given.peers, asked)
    return report.finish(given.json)


def measure_small(report: Report, path: Path) -> None:
    """Measure the overhead of a step, on a model whose kernels cost little."""
    with OurEngine(path) as engine:
        decode_rate(engine, 1)
        before = engine.steps()
        rate = statistics.median(decode_rate(engine, 1) for _ in range(20))
        after = engine.steps()
        overhead = (after.outside_s - before.outside_s) / (after.count - before.count)
    report.add(
        Row(
            "5M parameters alone, int8",
            rate,
            "tokens/s",
            bar=f"≥ {LEAST_SMALL_RATE:,.0f} tokens/s",
            met=rate >= LEAST_SMALL_RATE,
        )
    )
    report.add(
        Row(
            "overhead of a step, one sequence",
            overhead * 1e6,
            "µs",
            bar=f"≤ {MOST_OVERHEAD_S * 1e6:g} µs",
            met=overhead <= MOST_OVERHEAD_S,
        )
    )


def measure_model(
    report: Report, limits: Limits, path: Path, name: str, shape: str, repeats: int
) -> None:
    """Measure one model beside the machine's limits: rates, start, overhead and memory."""
    stored = sum(file.stat().st_size for file in path.glob("*.safetensors"))
    compute = limits.byte_products / matrix_products(SHAPES[shape])
    # Weights that a cache holds are not read from memory: then only the products are a limit.
    read = limits.measure_bandwidth(stored) if stored > last_cache_bytes() else None
    with OurEngine(path) as engine:
        prefill_rate(engine, 512)
        for figure in FIGURES:
            before = engine.steps()
            rate, spread = median_and_spread([figure.ours(engine) for _ in range(repeats)])
            after = engine.steps()
            limit = compute
            if figure.do == "decode" and read:
                limit = min(compute, read / stored * figure.details["sequences"])
            report.add(
                Row(
                    f"{name}, {figure.name}",
                    rate,
                    "tokens/s",
                    spread,
                    limit=limit,
                    share=rate / limit,
                )
            )
            if figure.details.get("sequences") == 64:
                outside = after.outside_s - before.outside_s
                _add_overhead(report, name, outside / (after.spent_s - before.spent_s))
    seconds, spread = median_and_spread([engine_side.first_token_s(path) for _ in range(repeats)])
    report.add(Row(f"{name}, process start to first token", seconds, "s", spread))
    extra = engine_side.extra_bytes(path)
    report.add(
        Row(
            f"{name}, resident over weights and cache",
            extra / 1e6,
            "MB",
            bar=f"≤ {MOST_EXTRA_BYTES / 1e6:g} MB",
            met=extra <= MOST_EXTRA_BYTES,
        )
    )


def _add_overhead(report: Report, name: str, share: float) -> None:
    report.add(
        Row(
            f"{name}, overhead of a step, 64 sequences",
            share * 100,
            "%",
            bar=f"≤ {MOST_OVERHEAD_SHARE:.0%}",
            met=share <= MOST_OVERHEAD_SHARE,
        )
    )


@dataclass(frozen=True)
class Asked:
    """The measurements made of every pair of engines."""

    shape: str
    figures: list[str]
    """Of "prefill", "decode", "mixed" and "start"."""
    threads: int
    repeats: int


def compare(
    report: Report, folder: Path, ingots: dict[str, Path], wanted: list[str], asked: Asked
) -> None:
    """Measure every wanted and installed peer and ours in turn."""
    peers = [peer for peer in PEERS if peer.kind in ingots and peer.environment in wanted]
    for name in sorted({peer.environment for peer in peers}):
        if not ENVIRONMENTS[name].installed:
            report.note(f"{name} is left out: python -m benchmarks.peers install {name}")
    here = [peer for peer in peers if ENVIRONMENTS[peer.environment].installed]
    weights = make_random_ingot(folder, asked.shape, "bf16") if here else folder
    models = folder / f"{asked.shape}-peers"
    for environment in sorted({peer.environment for peer in here}):
        export(environment, weights, models)
    for peer in here:
        try:
            compare_with(report, peer, models, ingots[peer.kind], asked)
        except PeerFailed as error:
            report.note(f"{peer.name} failed on {asked.shape}: {error}")


def compare_with(report: Report, peer: Peer, models: Path, path: Path, asked: Asked) -> None:
    """Measure one peer and ours in turn."""
    command = peer.command(models, asked.threads)
    figures = [figure for figure in FIGURES if figure.do in asked.figures]
    if figures:
        with OurEngine(path) as engine, PeerProcess(command) as process:
            prefill_rate(engine, 512)
            process.rate("prefill", tokens=512)
            for figure in figures:
                rates = in_turn(_sides(figure, engine, process), asked.repeats)
                name = f"{asked.shape} {peer.kind}, {figure.name}"
                _add_ratio(report, name, rates, "tokens/s", peer, figure.least.get(peer.kind))
    if "start" in asked.figures:
        sides: dict[str, Callable[[], float]] = {
            "ours": lambda: engine_side.first_token_s(path),
            "theirs": lambda: first_token_s(command),
        }
        name = f"{asked.shape} {peer.kind}, process start to first token"
        starts = in_turn(sides, asked.repeats)
        _add_ratio(report, name, starts, "s", peer, LEAST_START_RATIO)


def _sides(
    figure: Figure, engine: OurEngine, process: PeerProcess
) -> dict[str, Callable[[], float]]:
    return {
        "ours": lambda: figure.ours(engine),
        "theirs": lambda: process.rate(figure.do, **figure.details),
    }


def _add_ratio(
    report: Report,
    name: str,
    figures: dict[str, list[float]],
    unit: str,
    peer: Peer,
    least: float | None,
) -> None:
    ours, spread = median_and_spread(figures["ours"])
    theirs, _ = median_and_spread(figures["theirs"])
    pairs = zip(figures["ours"], figures["theirs"], strict=True)
    ratio = statistics.median(b / a if unit == "s" else a / b for a, b in pairs)
    report.add(
        Row(
            name,
            ours,
            unit,
            spread,
            peer=peer.name,
            peer_value=theirs,
            ratio=ratio,
            bar=f"≥ {least:g} times" if least else None,
            met=ratio >= least if least else None,
        )
    )


if __name__ == "__main__":
    sys.exit(main())
