"""Numbers that training's kernels compute in: a test for each, skipped where a CPU has none."""

from __future__ import annotations

from contextlib import AbstractContextManager

import numpy as np
import pytest
import torch

from ingot.training.native import formats

ARRAY_KIND = {torch.bfloat16: np.uint16, torch.float32: np.float32}


def needs(kind: torch.dtype) -> pytest.MarkDecorator:
    """Return the mark of a test of the kernels in ``kind``."""
    return pytest.mark.skipif(kind not in formats(), reason=f"no kernels in {kind} for this CPU")


each_kind = pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=needs(kind), id=str(kind)[6:]) for kind in ARRAY_KIND]
)


def computing_in(kind: torch.dtype) -> AbstractContextManager[object]:
    """Return the context in which the kernels in ``kind`` are those in use."""
    return torch.autocast("cpu", torch.bfloat16, enabled=kind is torch.bfloat16)
