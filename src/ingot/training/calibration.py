"""Quantizing a trained model by what it computes on its own training text (GPTQ)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ingot.artifact import (
    QuantizedMatrix,
    QuantizedModel,
    Scheme,
    check_patterns,
    fuse,
    fused_matrices,
    gptq,
    round_to_nearest,
)
from ingot.errors import CorpusError
from ingot.model.attend import Attend
from ingot.model.config import ModelConfig
from ingot.model.rotary import Angles
from ingot.model.transformer import Transformer
from ingot.training.evaluation.evaluate import Tokens

CALIBRATION_TOKENS = 1 << 16
"""Tokens of text that the method looks at, where there are so many."""

_TOKENS_AT_ONCE = 4096
_LONGEST = 4096  # tokens of a sequence: attention over a model's whole context takes its square
_INPUTS = {
    "self_attn.qkv_proj": "self_attn.q_proj",
    "self_attn.o_proj": "self_attn.o_proj",
    "mlp.gate_up_proj": "mlp.up_proj",
    "mlp.down_proj": "mlp.down_proj",
}
"""The matrices of a block, each with a module that reads its input."""


@torch.inference_mode()
def calibrate(
    weights: Mapping[str, NDArray[np.float32]],
    config: ModelConfig,
    text: Tokens,
    scheme: Scheme,
    *,
    tokens: int = CALIBRATION_TOKENS,
) -> QuantizedModel:
    """Quantize block by block with GPTQ (arXiv:2210.17323), each fed by those already quantized.

    Embeddings are plainly rounded: a row of them is looked up, not multiplied.

    Args:
        weights: float32 weights, by the names and shapes of ``config.tensor_shapes()``.
        config: Sizes of the model.
        text: What it was trained on; sequences are taken from all over it.
        scheme: What to store each matrix as.
        tokens: Most tokens of text to look at.

    Raises:
        CorpusError: the text is shorter than one sequence.
        UsageError: a pattern that fits no matrix.
    """
    fused = fused_matrices(config)
    check_patterns(scheme, fused)
    model = Transformer(config)
    for name, value in weights.items():
        np.copyto(model.get_parameter(name).detach().numpy(), value)
    sequences = _sequences(text, min(config.max_position_embeddings, _LONGEST), tokens)
    done: dict[str, QuantizedMatrix] = {}

    def quantize(name: str, hessian: NDArray[np.float64] | None) -> None:
        kind = scheme.kind_of(name)
        whole, group = fuse(weights, fused[name]), scheme.group_of(kind)
        done[name] = (
            round_to_nearest(whole, kind, group)
            if hessian is None
            else gptq(whole, hessian, kind, group)
        )
        _replace(model, fused[name], done[name].dequantized())

    quantize("model.embed_tokens", None)
    if config.position_embedding == "learned":
        quantize("model.position_embeddings", None)
    positions = torch.arange(sequences[0].shape[1])
    states = [model.model.embed(sequence, positions) for sequence in sequences]
    angles = model.rotary(positions)
    attend = model.attention(sequences[0].shape[1], sequences[0].device)
    for layer, block in enumerate(model.model.layers):
        hessians = _hessians(block, states, angles, attend)
        for name, hessian in hessians.items():
            quantize(f"model.layers.{layer}.{name}", hessian)
        states = [block(x, angles, attend) for x in states]
    if not config.tie_word_embeddings:
        total = sum(_outer(model.model.norm(x)) for x in states)
        quantize("lm_head", np.asarray(total))
    seen = sum(sequence.numel() for sequence in sequences)
    return QuantizedModel({name: done[name] for name in fused}, "gptq", seen)


def _sequences(text: Tokens, context: int, tokens: int) -> list[Tensor]:
    """Return batches (B, T) of sequences that start at even distances over the whole text."""
    if len(text) < context:
        raise CorpusError(
            f"holds {len(text)} tokens, calibration needs {context}",
            where="corpus",
            fix="quantize by plain rounding",
        )
    count = max(1, min(tokens, len(text)) // context)
    starts = np.linspace(0, len(text) - context, count).astype(np.int64)
    rows = torch.stack([torch.from_numpy(text.read(int(start), context)) for start in starts])
    return list(torch.split(rows, max(1, _TOKENS_AT_ONCE // context)))


def _hessians(
    block: nn.Module, states: list[Tensor], angles: Angles, attend: Attend
) -> dict[str, NDArray[np.float64]]:
    """Run a block and return for each of its matrices the sum of x xᵀ over its inputs."""
    totals: dict[str, NDArray[np.float64]] = {}

    def watch(name: str) -> Any:
        def add(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            outer = _outer(inputs[0])
            totals[name] = totals[name] + outer if name in totals else outer

        return add

    hooks = [
        block.get_submodule(module).register_forward_pre_hook(watch(name))
        for name, module in _INPUTS.items()
    ]
    for x in states:
        block(x, angles, attend)
    for hook in hooks:
        hook.remove()
    return totals


def _outer(x: Tensor) -> NDArray[np.float64]:
    flat = x.flatten(0, -2)
    return (flat.T @ flat).double().numpy()


def _replace(model: Transformer, parts: tuple[str, ...], values: NDArray[np.float32]) -> None:
    """Replace the trained weights by quantized ones."""
    first = 0
    for part in parts:
        parameter = model.get_parameter(part)
        np.copyto(parameter.detach().numpy(), values[first : first + len(parameter)])
        first += len(parameter)
