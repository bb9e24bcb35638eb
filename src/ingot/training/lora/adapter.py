"""Low-rank adaptation: train two thin matrices beside each frozen one.

Source: Hu and others, "LoRA", arXiv:2106.09685.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from ingot.errors import RecipeError
from ingot.model.transformer import Transformer
from ingot.training.config.lora import LoraConfig


class LoraLinear(nn.Linear):
    """A frozen layer W x + b and its adapter: x (..., in) to W x + b + scale · B A x."""

    def __init__(self, frozen: nn.Linear, config: LoraConfig, generator: torch.Generator) -> None:
        super().__init__(frozen.in_features, frozen.out_features, bias=False, device="meta")
        self.weight, self.bias = frozen.weight, frozen.bias
        self.scale = config.scale
        device = frozen.weight.device
        self.lora_A = nn.Linear(self.in_features, config.rank, bias=False, device="meta")
        self.lora_B = nn.Linear(config.rank, self.out_features, bias=False, device="meta")
        # A as nn.Linear draws it, on the CPU so that devices agree; B zero, to change nothing yet.
        width = 1 / math.sqrt(self.in_features)
        first = torch.empty(config.rank, self.in_features)
        nn.init.uniform_(first, -width, width, generator=generator)
        self.lora_A.weight = nn.Parameter(first.to(device))
        self.lora_B.weight = nn.Parameter(
            torch.zeros(self.out_features, config.rank, device=device)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., in) to (..., out)."""
        added: Tensor = self.lora_B(self.lora_A(x))
        return functional.linear(x, self.weight, self.bias) + self.scale * added

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """Add the adapter into the matrix, in place, and return it as a plain layer."""
        self.weight += self.scale * (self.lora_B.weight @ self.lora_A.weight)
        plain = nn.Linear(self.in_features, self.out_features, bias=False, device="meta")
        plain.weight, plain.bias = self.weight, self.bias
        return plain


def attach(model: Transformer, config: LoraConfig, generator: torch.Generator) -> None:
    """Freeze a model and put a fresh adapter beside each target matrix.

    The adapter's parameters are named ``...q_proj.lora_A.weight`` and
    ``...q_proj.lora_B.weight``; those of the model keep their names.

    Args:
        model: The model, with the weights to start from.
        config: Size and targets.
        generator: Draws the first matrices, on the CPU.

    Raises:
        RecipeError: the rank is not below a matrix's sizes, or there is an adapter already.
    """
    if any(True for _ in adapted(model)):
        raise RecipeError("the model has an adapter already", where="lora", fix="merge it first")
    replaced = [
        (name, layer)
        for name, layer in model.named_modules()
        if name.rpartition(".")[2] in config.targets and isinstance(layer, nn.Linear)
    ]
    smallest = min(min(layer.weight.shape) for _, layer in replaced)
    if config.rank >= smallest:
        raise RecipeError(
            f"rank {config.rank} is not below the smallest adapted size, {smallest}",
            where="lora.rank",
            fix="lower it, or train the whole model",
        )
    model.requires_grad_(False)
    for name, layer in replaced:
        model.set_submodule(name, LoraLinear(layer, config, generator))


def merge(model: Transformer) -> None:
    """Add the adapter into the matrices and make the model a plain, trainable one again."""
    for name, layer in list(adapted(model)):
        model.set_submodule(name, layer.merged())
    model.requires_grad_(True)


def adapted(model: Transformer) -> Iterator[tuple[str, LoraLinear]]:
    """Yield every adapted layer by its name in the model."""
    for name, layer in model.named_modules():
        if isinstance(layer, LoraLinear):
            yield name, layer
