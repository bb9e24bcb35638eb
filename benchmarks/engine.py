"""How fast the native core answers, beside what this machine could do.

``python -m benchmarks.engine [--quick] [--json FILE] [--plot FILE] [--shapes 100M 600M]``.
Models hold random weights, made here. Prompts are 64 random tokens, answers 32, greedy.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.engine_plot import draw_roofline
from benchmarks.random_models import SHAPES, make_random_ingot, matrix_products
from benchmarks.report import Report, Row, arguments, median_and_spread
from ingot import native
from ingot.artifact import open_ingot
from ingot.inference import Engine, EngineConfig, SamplingParams
from ingot.inference.executors.native import NativeExecutor

PROMPT, ANSWER = 64, 32
LEAST_GEMM, LEAST_BANDWIDTH, LEAST_ATTENTION = 0.6, 0.9, 0.8
MOST_OVERHEAD_S, MOST_OVERHEAD_SHARE = 50e-6, 0.05
MOST_EXTRA_BYTES = 150e6
LEAST_SMALL_RATE = 5000.0

_FIRST_ID, _LAST_ID = 3, 250
_READ_BYTES = 1 << 28


@dataclass(frozen=True)
class Limits:
    """What this machine can do at most."""

    threads: int
    byte_products: float
    """Multiply-adds of bytes a second, between registers."""
    bandwidth: float
    """Bytes read from memory a second."""

    @classmethod
    def measure(cls) -> Limits:
        """Measure them with the kernels that are in use."""
        best = native.kernels()[0]
        threads = len(os.sched_getaffinity(0))
        peak = max(native.measure_peak(best, threads) for _ in range(3))
        seconds = min(native.measure_read(_READ_BYTES, threads, 5) for _ in range(3))
        return cls(threads, peak, _READ_BYTES / seconds)


def main() -> int:
    """Run the benchmark; return 0 if every bar is met."""
    parser = arguments("engine", "Speed of the native core.")
    parser.add_argument("--shapes", nargs="+", choices=list(SHAPES), default=["100M", "600M"])
    parser.add_argument(
        "--kinds", nargs="+", choices=["bf16", "int8", "int4"], default=["int8", "int4"]
    )
    parser.add_argument("--plot", type=Path, help="where to draw the roofline (.png)")
    given = parser.parse_args()
    shapes = ["5M"] if given.quick else given.shapes
    repeats = 1 if given.quick else 3
    report = Report(
        "engine",
        settings={"quick": given.quick, "shapes": shapes, "kernels": native.kernels()[0]},
        packages=("ingot", "numpy"),
    )
    limits = Limits.measure()
    report.add(Row("int8 products at most", limits.byte_products / 1e9, "GMAC/s"))
    report.add(Row("memory read at most", limits.bandwidth / 1e9, "GB/s"))
    measure_kernels(report, limits, given.plot)
    with tempfile.TemporaryDirectory(prefix="ingot-engine-") as folder:
        measure_small(report, Path(folder))
        for shape in shapes:
            for kind in given.kinds:
                ingot = make_random_ingot(Path(folder), shape, kind)
                measure_model(report, limits, ingot, shape, kind, repeats)
    report.note("peers are not run: none is installed by this benchmark yet")
    return report.finish(given.json)


def measure_kernels(report: Report, limits: Limits, plot: Path | None) -> None:
    """Measure products of many rows, of one row, and attention over a long context."""
    best, threads = native.kernels()[0], limits.threads
    points: list[tuple[str, float, float]] = []
    for kind in ("int8", "int4", "bf16"):
        large = _matrix(kind, 4096, 8192)
        for rows in (1, 8, 64, 512):
            seconds = native.measure_multiply(large, rows, best, threads, 5)
            products = 4096 * 8192 * rows / seconds
            stored = {"int8": 1 + 4 / 128, "int4": 0.5 + 4 / 32, "bf16": 2.0}[kind] * 4096 * 8192
            points.append((f"{kind}, {rows}", 4096 * 8192 * rows / stored, products))
            if rows == 1:
                share = stored / seconds / limits.bandwidth
                bar = kind != "bf16"
                report.add(
                    Row(
                        f"one row, {kind}",
                        stored / seconds / 1e9,
                        "GB/s",
                        limit=limits.bandwidth / 1e9,
                        share=share,
                        bar=f"≥ {LEAST_BANDWIDTH:.0%} of bandwidth" if bar else None,
                        met=share >= LEAST_BANDWIDTH if bar else None,
                    )
                )
            elif rows >= 64:
                share = products / limits.byte_products
                bar = kind == "int8"
                report.add(
                    Row(
                        f"{rows} rows, {kind}",
                        products / 1e9,
                        "GMAC/s",
                        limit=limits.byte_products / 1e9,
                        share=share,
                        bar=f"≥ {LEAST_GEMM:.0%} of the int8 peak" if bar else None,
                        met=share >= LEAST_GEMM if bar else None,
                    )
                )
    for cache, width in (("bf16", 2.0), ("int8", 1 + 4 / 16)):
        sequences, context, heads, head_dim = 8, 8192, 8, 128
        seconds = native.measure_attend(
            16, heads, head_dim, cache, context, sequences, best, threads, 5
        )
        read = 2 * sequences * context * heads * head_dim * width
        share = read / seconds / limits.bandwidth
        report.add(
            Row(
                f"attention at {context} tokens, {cache}",
                read / seconds / 1e9,
                "GB/s",
                limit=limits.bandwidth / 1e9,
                share=share,
                bar=f"≥ {LEAST_ATTENTION:.0%} of bandwidth" if cache == "bf16" else None,
                met=share >= LEAST_ATTENTION if cache == "bf16" else None,
            )
        )
    if plot:
        draw_roofline(points, limits.byte_products, limits.bandwidth, plot)


def measure_small(report: Report, folder: Path) -> None:
    """Measure what a step costs besides its kernels, on a model whose kernels cost little."""
    path = make_random_ingot(folder, "5M", "int8")
    with _Engine(path) as engine:
        rate, overhead, _ = engine.decode(1, 256)
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
    report: Report, limits: Limits, path: Path, shape: str, kind: str, repeats: int
) -> None:
    """Measure prefill, decodes of 1 to 64 sequences, mixed work, start and memory of a model."""
    config, name = SHAPES[shape], f"{shape} {kind}"
    macs = matrix_products(config)
    stored = sum(file.stat().st_size for file in path.glob("*.safetensors"))

    def add(what: str, figures: list[float], limit: float) -> None:
        median, spread = median_and_spread(figures)
        report.add(
            Row(f"{name}, {what}", median, "tokens/s", spread, limit=limit, share=median / limit)
        )

    with _Engine(path) as engine:
        engine.prefill(512)
        compute = limits.byte_products / macs
        add("prefill 512", [engine.prefill(512) for _ in range(repeats)], compute)
        for sequences in (1, 8, 32, 64):
            figures = [engine.decode(sequences, ANSWER) for _ in range(repeats)]
            limit = min(compute, limits.bandwidth / stored * sequences)
            add(f"decode B={sequences}", [rate for rate, _, _ in figures], limit)
            if sequences == 64:
                share = min(share for _, _, share in figures)
                report.add(
                    Row(
                        f"{name}, overhead of a step, 64 sequences",
                        share * 100,
                        "%",
                        bar=f"≤ {MOST_OVERHEAD_SHARE:.0%}",
                        met=share <= MOST_OVERHEAD_SHARE,
                    )
                )
        add("mixed", [engine.mixed() for _ in range(repeats)], compute)
    starts = [_first_token_s(path) for _ in range(repeats)]
    median, spread = median_and_spread(starts)
    report.add(Row(f"{name}, process start to first token", median, "s", spread))
    extra = _extra_bytes(path)
    report.add(
        Row(
            f"{name}, resident over weights and cache",
            extra / 1e6,
            "MB",
            bar=f"≤ {MOST_EXTRA_BYTES / 1e6:g} MB",
            met=extra <= MOST_EXTRA_BYTES,
        )
    )


class _Engine:
    """An engine without prefix cache, stepped by hand."""

    def __init__(self, path: Path) -> None:
        self._ingot = open_ingot(path, verify=False)
        config = EngineConfig(prefix_cache=False)
        executor = NativeExecutor(self._ingot, num_blocks=config.blocks_for(self._ingot.config))
        self._engine = Engine(executor, self._ingot.tokenizer, config)
        self._rng = np.random.default_rng(1)

    def __enter__(self) -> _Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self._engine.close()
        self._ingot.close()
        gc.collect()

    def prefill(self, tokens: int) -> float:
        """Return tokens per second of one prompt."""
        self._add(tokens, 1)
        return tokens / self._run()

    def decode(self, sequences: int, tokens: int) -> tuple[float, float, float]:
        """Return tokens per second, overhead of a step in seconds, and its share of the step."""
        first = [0]
        for _ in range(sequences):
            self._add(PROMPT, tokens + 1, lambda: first.__setitem__(0, first[0] + 1))
        while first[0] < sequences:
            self._engine.step()
        before = self._engine.stats()
        seconds = self._run()
        after = self._engine.stats()
        made = after.generated_tokens - before.generated_tokens
        steps, spent = after.steps - before.steps, after.step_s - before.step_s
        overhead = spent - (after.executor_s - before.executor_s)
        return made / seconds, overhead / steps, overhead / spent

    def mixed(self) -> float:
        """Return prompt and answer tokens per second of 64 unlike sequences that come in turn."""
        rng = np.random.default_rng(2)
        longest = min(1024, self._engine.max_context - 257)
        total = steps = 0
        started = time.perf_counter()
        for _ in range(64):
            prompt, answer = int(rng.integers(16, longest)), int(rng.integers(8, 257))
            self._add(prompt, answer)
            total += prompt + answer
            for _ in range(4):  # others come while the first are running
                self._engine.step()
                steps += 1
        self._run()
        return total / (time.perf_counter() - started)

    def _add(self, prompt: int, answer: int, on_first: Callable[[], None] | None = None) -> None:
        ids = self._rng.integers(_FIRST_ID, _LAST_ID, prompt).tolist()
        told = [on_first]

        def on_delta(_: object) -> None:
            if told[0]:
                told[0]()
                told[0] = None

        params = SamplingParams(max_tokens=answer, temperature=0.0, ignore_eos=True)
        self._engine.add(ids, params, on_delta)

    def _run(self) -> float:
        started = time.perf_counter()
        while self._engine.has_work:
            self._engine.step()
        return time.perf_counter() - started


def _matrix(kind: str, outputs: int, inputs: int) -> native.Matrix:
    group = {"int8": 128, "int4": 32, "bf16": 128}[kind]
    size, scales = native.packed_sizes(kind, outputs, inputs, group)
    tiles, factors = np.zeros(size, np.uint8), np.zeros(scales, np.float32)
    bits = np.random.default_rng(0).integers(0x3C00, 0x3D00, (outputs, inputs)).astype(np.uint16)
    native.pack(kind, bits, group, tiles, factors)
    return native.Matrix(kind, outputs, inputs, group, tiles, factors)


def _first_token_s(path: Path) -> float:
    command = [sys.executable, "-m", "ingot", "generate", str(path), "any", "--max-tokens", "1"]
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, timeout=600)  # noqa: S603 (our own)
    return time.perf_counter() - started


_RESIDENT = """
import sys
from pathlib import Path
from ingot.api import phase_two
from ingot.inference import EngineConfig
with phase_two.load(sys.argv[1], engine=EngineConfig(kv_cache_bytes=1 << 26)) as model:
    model.generate("any text", max_tokens=64, ignore_eos=True)
    status = Path("/proc/self/status").read_text()
    print(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")))
"""


def _extra_bytes(path: Path) -> float:
    """Return what a process that answers holds besides weights and key-value cache."""
    done = subprocess.run(  # noqa: S603 (our own)
        [sys.executable, "-c", _RESIDENT, str(path)],
        check=True,
        capture_output=True,
        text=True,
        timeout=600,
    )
    stored = sum(file.stat().st_size for file in path.glob("*.safetensors"))
    return int(done.stdout) * 1024 - stored - (1 << 26)


if __name__ == "__main__":
    sys.exit(main())
