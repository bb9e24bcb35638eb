"""Speed of the core's kernels beside the machine's limits."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.engine_plot import draw_roofline
from benchmarks.report import Report, Row
from ingot import native

LEAST_GEMM, LEAST_BANDWIDTH, LEAST_ATTENTION = 0.6, 0.9, 0.8

_LEAST_READ_BYTES = 1 << 28
_CACHES_READ = 4
"""Bytes read from memory in one measurement, in sizes of the last cache."""
_LARGE_INPUTS, _USUAL = 8192, (6144, 1024)
"""Inputs of a matrix that no cache holds; outputs and inputs of the 600M model's widest."""
_GROUPS = {"int8": 128, "int4": 32, "bf16": 128}
_BYTES_A_WEIGHT = {"int8": 1 + 4 / 128, "int4": 0.5 + 4 / 32, "bf16": 2.0}
_CONTEXT, _HEADS, _HEAD_DIM = 8192, 8, 128


def last_cache_bytes() -> int:
    """Return the size of the processor's last cache; 32 MiB where the system does not tell."""
    units = {"K": 1 << 10, "M": 1 << 20}
    sizes = [
        path.read_text(encoding="ascii").strip()
        for path in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size")
    ]
    return max((int(size[:-1]) * units[size[-1]] for size in sizes), default=32 << 20)


def uncached_bytes() -> int:
    """Return how many bytes to read so that next to none come from a cache."""
    return max(_LEAST_READ_BYTES, _CACHES_READ * last_cache_bytes())


@dataclass(frozen=True)
class Limits:
    """The machine's limits."""

    threads: int
    byte_products: float
    """Multiply-adds of bytes a second, between registers."""
    bandwidth: float
    """Bytes read from memory a second, by all threads."""

    @classmethod
    def measure(cls) -> Limits:
        """Measure the limits with the kernels in use."""
        best = native.kernels()[0]
        threads = len(os.sched_getaffinity(0))
        peak = max(native.measure_peak(best, threads) for _ in range(3))
        return cls(threads, peak, _bandwidth(uncached_bytes(), threads))

    def measure_bandwidth(self, size: int) -> float:
        """Return the bytes a second that a buffer of ``size`` bytes can be read with."""
        return _bandwidth(size, self.threads)


def _bandwidth(size: int, threads: int) -> float:
    size = max(1, round(size / (1 << 20))) << 20  # the core reads parts of 1 MiB
    # On a shared machine it varies by half within a minute: the best of many counts.
    return size / native.measure_read(size, threads, 24)


def measure_kernels(report: Report, limits: Limits, plot: Path | None) -> None:
    """Measure products of many rows, of one row, and attention over a long context."""
    points: list[tuple[str, float, float]] = []
    for kind in ("int8", "int4", "bf16"):
        for rows in (1, 8, 64, 512):
            outputs, inputs = _USUAL if rows >= 64 else (_large_outputs(kind), _LARGE_INPUTS)
            stored, products = _BYTES_A_WEIGHT[kind] * outputs * inputs, outputs * inputs * rows
            matrix = _matrix(kind, outputs, inputs)
            seconds = native.measure_multiply(matrix, rows, native.kernels()[0], limits.threads, 5)
            points.append((f"{kind}, {rows}", products / stored, products / seconds))
            if rows == 1:
                _add_bandwidth(
                    report, limits, f"one row, {kind}", stored / seconds, LEAST_BANDWIDTH
                )
            elif rows >= 64:
                _add_products(report, limits, kind, rows, products / seconds)
    for cache, width in (("bf16", 2.0), ("int8", 1 + 4 / _HEAD_DIM)):
        sequence = 2 * _CONTEXT * _HEADS * _HEAD_DIM * width
        sequences = math.ceil(uncached_bytes() / sequence)
        seconds = native.measure_attend(
            query_heads=2 * _HEADS,
            key_heads=_HEADS,
            head_dim=_HEAD_DIM,
            cache=cache,
            context=_CONTEXT,
            sequences=sequences,
            kernels=native.kernels()[0],
            threads=limits.threads,
            repeats=5,
        )
        name = f"attention at {_CONTEXT} tokens, {cache}"
        _add_bandwidth(report, limits, name, sequences * sequence / seconds, LEAST_ATTENTION)
    if plot:
        draw_roofline(points, limits.byte_products, limits.bandwidth, plot)


def _add_bandwidth(report: Report, limits: Limits, name: str, rate: float, least: float) -> None:
    share = rate / limits.bandwidth
    report.add(
        Row(
            name,
            rate / 1e9,
            "GB/s",
            limit=limits.bandwidth / 1e9,
            share=share,
            bar=f"≥ {least:.0%} of bandwidth",
            met=share >= least,
        )
    )


def _add_products(report: Report, limits: Limits, kind: str, rows: int, rate: float) -> None:
    share = rate / limits.byte_products
    bar = kind == "int8"
    report.add(
        Row(
            f"{rows} rows, {kind}",
            rate / 1e9,
            "GMAC/s",
            limit=limits.byte_products / 1e9,
            share=share,
            bar=f"≥ {LEAST_GEMM:.0%} of the int8 peak" if bar else None,
            met=share >= LEAST_GEMM if bar else None,
        )
    )


def _large_outputs(kind: str) -> int:
    """Return the outputs of a matrix that no cache holds."""
    return math.ceil(uncached_bytes() / (_BYTES_A_WEIGHT[kind] * _LARGE_INPUTS) / 16) * 16


def _matrix(kind: str, outputs: int, inputs: int) -> native.Matrix:
    """Make a matrix of equal weights: the kernels' speed does not depend on values."""
    group = _GROUPS[kind]
    size, scales = native.packed_sizes(kind, outputs, inputs, group)
    tiles, factors = np.full(size, 0x3C, np.uint8), np.full(scales, 0.01, np.float32)
    tiles.flags.writeable = factors.flags.writeable = False
    return native.Matrix(
        weight_format=kind,
        outputs=outputs,
        inputs=inputs,
        group=group,
        tiles=tiles,
        scales=factors,
    )
