"""How the model is run while it learns: what is kept for the backward pass, what is fused."""

from __future__ import annotations

import copy
import functools
import os
import shutil

import torch
from torch.utils.checkpoint import checkpoint as recomputed

from ingot.errors import ResourceError
from ingot.model.transformer import Transformer


def recompute_blocks(model: Transformer) -> None:
    """Make each block keep only its input for the backward pass."""
    for block in model.model.layers:
        block.forward = functools.partial(recomputed, block.forward, use_reentrant=False)


def compiled(model: Transformer, device: torch.device) -> Transformer:
    """Return the same model, weights and all, with what lies between its products fused.

    ``torch.compile`` does it when the model is first run, which takes about a minute, and again
    for shapes that differ. On CPUs it needs a C++ compiler: the one that CXX names, else g++.

    Raises:
        ResourceError: there is no such compiler.
    """
    compiler = os.environ.get("CXX") or "g++"
    if device.type == "cpu" and shutil.which(compiler) is None:
        raise ResourceError(
            f"needs a C++ compiler, and {compiler} is not installed",
            where="run.compile",
            fix="install it, name another in CXX, or set run.compile=false",
        )
    learner = copy.copy(model)  # so that scoring, whose shapes differ, is not compiled
    # From the embedding on: its gradient, compiled, adds in an order that varies from run to run.
    object.__setattr__(learner, "forward_blocks", torch.compile(model.forward_blocks))
    return learner
