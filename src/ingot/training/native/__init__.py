"""Training's own C++ kernels, absent where the package was installed without a compiler."""

from __future__ import annotations

import functools
from importlib import import_module
from types import ModuleType


@functools.cache
def attention_kernels() -> ModuleType | None:
    """Return the module of the attention kernels, or None where they or their CPU are absent."""
    try:
        module = import_module("ingot.training.native._attention")
    except ImportError:
        return None
    return module if module.can_attend() else None
