"""Compilation of the training step's forward and backward pass."""

from __future__ import annotations

import os
import shutil

import torch
from torch import Tensor

from ingot.errors import ResourceError
from ingot.model.attend import Attend
from ingot.model.rotary import Angles
from ingot.model.transformer import Transformer
from ingot.training.compute.replace import taking_over


class CompiledTransformer(Transformer):
    """A model whose blocks are compiled; the embedding and the head are not.

    The embedding's gradient, compiled, adds in an order that varies from run to run.
    """

    def __init__(self, model: Transformer) -> None:
        with torch.device("meta"):
            super().__init__(model.config)
        taking_over(self, model)
        self.tokens = model.tokens
        self._compiled = torch.compile(model.forward_blocks)

    def forward_blocks(self, x: Tensor, angles: Angles, attend: Attend) -> Tensor:
        """Apply every block and the last norm to embeddings x (..., D): (..., D)."""
        out: Tensor = self._compiled(x, angles, attend)
        return out


def compiled(model: Transformer, device: torch.device) -> Transformer:
    """Return a model that shares every weight with ``model`` and fuses what lies between products.

    ``model`` itself stays as it is, so that scoring, whose shapes differ, is not compiled.
    ``torch.compile`` works when the model is first run, for about a minute, and again for shapes
    that differ. On CPUs it needs a C++ compiler: the one that CXX names, else g++.

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
    return CompiledTransformer(model)
