"""The core's kernels beside what the machine could do at most."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.engine_plot import draw_roofline
from benchmarks.report import Report, Row
from ingot import native

LEAST_GEMM, LEAST_BANDWIDTH, LEAST_ATTENTION = 0.6, 0.9, 0.8

_READ_BYTES = 1 << 28
_LARGE, _USUAL = (32_768, 8192), (6144, 1024)
"""Outputs and inputs of a matrix that no cache holds, and of the 600M model's widest."""
_BYTES_A_WEIGHT = {"int8": 1 + 4 / 128, "int4": 0.5 + 4 / 32, "bf16": 2.0}
_CONTEXT, _SEQUENCES, _HEADS, _HEAD_DIM = 8192, 8, 8, 128


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
        # On a machine that is shared it moves by half within a minute: the best of many counts.
        seconds = min(native.measure_read(_READ_BYTES, threads, 5) for _ in range(12))
        return cls(threads, peak, _READ_BYTES / seconds)


def measure_kernels(report: Report, limits: Limits, plot: Path | None) -> None:
    """Measure products of many rows, of one row, and attention over a long context."""
    points: list[tuple[str, float, float]] = []
    for kind in ("int8", "int4", "bf16"):
        for rows in (1, 8, 64, 512):
            outputs, inputs = _USUAL if rows >= 64 else _LARGE
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
        seconds = native.measure_attend(
            2 * _HEADS,
            _HEADS,
            _HEAD_DIM,
            cache,
            _CONTEXT,
            _SEQUENCES,
            native.kernels()[0],
            limits.threads,
            5,
        )
        read = 2 * _SEQUENCES * _CONTEXT * _HEADS * _HEAD_DIM * width
        name = f"attention at {_CONTEXT} tokens, {cache}"
        _add_bandwidth(report, limits, name, read / seconds, LEAST_ATTENTION)
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


def _matrix(kind: str, outputs: int, inputs: int) -> native.Matrix:
    group = {"int8": 128, "int4": 32, "bf16": 128}[kind]
    size, scales = native.packed_sizes(kind, outputs, inputs, group)
    tiles, factors = np.zeros(size, np.uint8), np.zeros(scales, np.float32)
    bits = np.random.default_rng(0).integers(0x3C00, 0x3D00, (outputs, inputs), np.uint16)
    native.pack(kind, bits, group, tiles, factors)
    tiles.flags.writeable = factors.flags.writeable = False
    return native.Matrix(kind, outputs, inputs, group, tiles, factors)
