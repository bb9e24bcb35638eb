"""Training's own C++ kernels, each for the numbers that the CPU is best at.

Attention, norms and rotation in bfloat16 on AVX-512 with BF16; those, the gated activation and
cross-entropy in float32 on CPUs with AVX2 and without AVX-512. Absent on other CPUs and where the
package was installed without Python's headers; PyTorch's own operators do the same there. A call
uses as many threads as PyTorch does in the thread that calls.
"""

from __future__ import annotations

import functools
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def in_use(device: torch.device) -> torch.dtype | None:
    """Return the numbers in which kernels stand in on ``device`` now; None where none do.

    bfloat16 under autocast to it, float32 without autocast.
    """
    if device.type != "cpu":
        return None
    wanted = torch.float32
    if torch.is_autocast_enabled("cpu"):
        wanted = torch.get_autocast_dtype("cpu")
    return wanted if wanted in formats() else None


@functools.cache
def formats() -> frozenset[torch.dtype]:
    """Return the numbers that this CPU has kernels for: at most bfloat16 and float32."""
    found = module()
    if found is None:
        return frozenset()
    kinds = {torch.bfloat16: found.computes_bfloat16(), torch.float32: found.computes_float32()}
    return frozenset(kind for kind, there in kinds.items() if there)


@functools.cache
def module() -> ModuleType | None:
    """Return the compiled module, or None where it is absent."""
    try:
        return import_module("ingot.training.native._kernels")
    except ModuleNotFoundError:
        return None


def kernels() -> Any:
    """Return ``_kernels.Kernels`` with as many threads as PyTorch uses."""
    return _kernels_with(torch.get_num_threads())


@functools.cache
def _kernels_with(threads: int) -> Any:
    compiled: Any = module()  # there, or in_use() would have said so
    return compiled.Kernels(threads)


def bits(x: Tensor) -> NDArray[np.uint16]:
    """Return the bits of bfloat16 numbers, in order; where they are in order already, a view."""
    viewed: NDArray[np.uint16] = x.contiguous().view(torch.uint16).numpy()
    return viewed


def numbers(x: Tensor) -> NDArray[np.uint16] | NDArray[np.float32]:
    """Return float32 numbers, or the bits of bfloat16 ones, in order; a view as ``bits``."""
    if x.dtype is torch.bfloat16:
        return bits(x)
    viewed: NDArray[np.float32] = x.detach().contiguous().numpy()
    return viewed
