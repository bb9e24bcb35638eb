"""FLOPs by the formula against those that PyTorch counts."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from ingot.model import ModelConfig
from ingot.model.transformer import Transformer
from ingot.training.compute.flops import adapter_parameters, training_flops
from ingot.training.config.lora import LoraConfig
from ingot.training.lora.adapter import attach

CONTEXT = 16
CONFIG = ModelConfig(
    vocab_size=300,
    hidden_size=64,
    intermediate_size=128,
    num_hidden_layers=6,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=16,
    max_position_embeddings=CONTEXT,
    tie_word_embeddings=False,
)


@pytest.mark.parametrize(
    "lora", [None, LoraConfig(rank=8), LoraConfig(rank=4, targets=("q_proj", "down_proj"))]
)
def test_what_is_reported_is_what_is_computed(lora: LoraConfig | None) -> None:
    """FAULTS D13: a frozen weight has no gradient."""
    model = Transformer(CONFIG)
    model.initialise(torch.Generator().manual_seed(0))
    if lora is not None:
        attach(model, lora, torch.Generator().manual_seed(1))
    ids = torch.arange(CONTEXT)[None]
    with FlopCounterMode(display=False) as counter:
        model.logits(model(ids)).sum().backward()  # type: ignore[no-untyped-call]
    counted = counter.get_total_flops() / CONTEXT
    # PyTorch multiplies no gradient back into the embedding, and counts attention by itself.
    assert training_flops(CONFIG, lora, CONTEXT) == pytest.approx(counted, rel=0.06)
    if lora is not None:
        trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
        assert adapter_parameters(CONFIG, lora) == trained
        assert training_flops(CONFIG, lora, CONTEXT) < 0.9 * CONFIG.training_flops(CONTEXT)
