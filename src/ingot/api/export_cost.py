"""What W8A8 costs: the ingot and its export, scored on the same text.

The exported model is computed as its readers do it: weights with one scale for each output, and
the inputs of every matrix rounded to int8 with a scale for each token.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from ingot.api.exporting import ExportCost
from ingot.artifact.export import per_channel
from ingot.corpus import ReadReport
from ingot.model.transformer import Transformer
from ingot.training.compute.precision import Precision
from ingot.training.evaluation.evaluate import evaluate
from ingot.training.evaluation.scoring import open_model, read_tokens

_HEAD = "lm_head"


def cost_of_w8a8(ingot: Path, texts: Sequence[Path]) -> ExportCost:
    """Score an ingot of int8 matrices and its W8A8 export on texts.

    Raises:
        CorpusError: the texts cannot be read or are empty.
    """
    precision = Precision.choose()
    model, tokenizer = open_model(ingot)
    tokens, size = read_tokens(tokenizer, texts, ReadReport())
    model.to(precision.device)
    before = evaluate(model, tokens, size, precision=precision)
    _round_again(model)
    after = evaluate(model, tokens, size, precision=precision)
    return ExportCost(after.bits_per_byte, before.bits_per_byte, size)


@torch.no_grad()
def _round_again(model: Transformer) -> None:
    """Round every matrix but embedding and head, and its inputs, as W8A8 has them."""
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear) and name != _HEAD:
            codes, scales = per_channel(module.weight.cpu().numpy())
            module.weight.copy_(torch.from_numpy(codes * scales))
            module.register_forward_pre_hook(_rounded_inputs)


def _rounded_inputs(_module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    (x,) = inputs
    wide = x.float()
    scales = wide.abs().amax(dim=-1, keepdim=True).clamp_min(1e-12) / 127
    return ((wide / scales).round_().mul_(scales).to(x.dtype),)
