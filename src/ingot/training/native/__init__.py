"""Training's own C++ kernels: attention, norms and rotation in bfloat16, on AVX-512 with BF16.

Absent on other CPUs and where the package was installed without Python's headers; PyTorch's own
operators do the same there. A call uses as many threads as PyTorch does in the thread that calls.
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


def in_use(device: torch.device) -> bool:
    """Tell whether the kernels stand in on ``device`` now: where autocast computes in bfloat16."""
    return device.type == "cpu" and computes_in_bfloat16() and module() is not None


def computes_in_bfloat16() -> bool:
    """Tell whether products on the CPU are in bfloat16 now."""
    autocast = torch.is_autocast_enabled("cpu")
    return autocast and torch.get_autocast_dtype("cpu") is torch.bfloat16


@functools.cache
def module() -> ModuleType | None:
    """Return the compiled module, or None where it or what it needs of the CPU is absent."""
    try:
        found = import_module("ingot.training.native._kernels")
    except ModuleNotFoundError:
        return None
    return found if found.supported() else None


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
