"""Floating-point operations of training."""

from __future__ import annotations

from ingot.model import ModelConfig
from ingot.training.config.lora import LoraConfig


def training_flops(config: ModelConfig, lora: LoraConfig | None, context: int) -> float:
    """Return the FLOPs of one token's forward and backward pass in causal sequences.

    Matrix products only, a multiply-add as two (PaLM, arXiv:2204.02311, appendix B). A trained
    matrix takes one product forward and two backward, 6 FLOPs a weight. A frozen one beside an
    adapter takes no gradient of its own: 4 FLOPs a weight, and 6 for each of the adapter's
    weights. Attention has no weights, and takes twice as much backward as forward.

    Args:
        config: The model.
        lora: The adapter, if only one is trained.
        context: Tokens in a sequence; a causal token attends to half of them on average.
    """
    whole = config.training_flops(context)
    if lora is None:
        return whole
    matrices = config.forward_flops(0)
    return whole - matrices + 6.0 * adapter_parameters(config, lora)


def adapter_parameters(config: ModelConfig, lora: LoraConfig) -> int:
    """Return the number of an adapter's weights."""
    targets = {f"{target}.weight" for target in lora.targets}
    return sum(
        lora.rank * sum(shape)
        for name, shape in config.tensor_shapes().items()
        if ".".join(name.split(".")[-2:]) in targets
    )
