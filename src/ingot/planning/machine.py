"""Measurement of this machine: matrix-product throughput, memory, cores."""

from __future__ import annotations

import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from ingot.model.bfloat16 import computes_bfloat16
from ingot.process import set_torch_threads, usable_cores

_SIZES = ((2048, 1024, 1024), (4096, 512, 512))  # rows, inner, columns


@dataclass(frozen=True)
class Machine:
    """A machine's limits."""

    name: str
    """Processor or accelerator."""
    cores: int
    """Cores this process may use."""
    memory_bytes: int
    bfloat16: bool
    """Whether matrix products in bfloat16 beat float32."""
    matmul_flops: float
    """FLOP/s of the best matrix product measured, in the format training would use."""


def measure_machine(seconds: float = 1.5) -> Machine:
    """Measure this machine; matrix products are timed for about ``seconds`` in all."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    set_torch_threads(usable_cores())  # an engine may have set fewer
    single = _matmul_flops(device, torch.float32, seconds / 2)
    half = _matmul_flops(device, torch.bfloat16, seconds / 2) if computes_bfloat16(device) else 0.0
    return Machine(
        name=_name(device),
        cores=usable_cores(),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        bfloat16=half > single,
        matmul_flops=max(single, half),
    )


def _matmul_flops(device: torch.device, dtype: torch.dtype, seconds: float) -> float:
    """Return the best rate over a few shapes: the limit that a share of peak refers to."""
    best = 0.0
    for rows, inner, columns in _SIZES:
        a = torch.randn(rows, inner, device=device, dtype=dtype)
        b = torch.randn(inner, columns, device=device, dtype=dtype)
        deadline = time.perf_counter() + seconds / len(_SIZES)
        while time.perf_counter() < deadline:
            started = time.perf_counter()
            product = a @ b
            product[0, 0].item()  # waits for an accelerator to finish
            best = max(best, 2 * rows * inner * columns / (time.perf_counter() - started))
    return best


def _name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
