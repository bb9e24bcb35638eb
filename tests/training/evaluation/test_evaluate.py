from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch.nn import functional

from ingot.errors import CorpusError
from ingot.model import ModelConfig
from ingot.model.transformer import Transformer
from ingot.training.compute.precision import Precision
from ingot.training.evaluation.evaluate import evaluate

CONTEXT = 16
CONFIG = ModelConfig(
    vocab_size=50,
    hidden_size=16,
    intermediate_size=32,
    num_hidden_layers=1,
    num_attention_heads=2,
    num_key_value_heads=1,
    head_dim=8,
    max_position_embeddings=CONTEXT,
)
FLOAT32 = Precision(torch.device("cpu"), torch.float32)


class Stream:
    def __init__(self, ids: NDArray[np.int64]) -> None:
        self.ids = ids

    def __len__(self) -> int:
        return len(self.ids)

    def read(self, start: int, count: int) -> NDArray[np.int64]:
        assert start >= 0
        assert start + count <= len(self.ids)
        return self.ids[start : start + count]


@pytest.fixture(scope="module")
def model() -> Transformer:
    model = Transformer(CONFIG)
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4, generator=generator)
    return model


def one_by_one(model: Transformer, ids: torch.Tensor, stride: int) -> float:
    """Score each token by itself with just the context that windows of this stride give it."""
    total = 0.0
    for target in range(1, len(ids)):
        if target <= CONTEXT:
            start = 0
        else:
            window_end = CONTEXT + math.ceil((target - CONTEXT) / stride) * stride
            start = min(window_end, len(ids) - 1) - CONTEXT
        scores = model.logits(model(ids[None, start:target]))[0, -1]
        total += functional.cross_entropy(scores[None], ids[None, target]).item()
    return total


@settings(max_examples=25, deadline=None)
@given(length=st.integers(2, 90), overlap=st.sampled_from([0.0, 0.25, 0.5, 0.9]))
def test_each_token_is_scored_once_with_its_context(
    model: Transformer, length: int, overlap: float
) -> None:
    ids = np.random.default_rng(length).integers(0, 50, length)
    scored = evaluate(model, Stream(ids), 3 * length, precision=FLOAT32, overlap=overlap)
    with torch.inference_mode():
        expected = one_by_one(model, torch.from_numpy(ids), max(1, round(CONTEXT * (1 - overlap))))
    assert scored.tokens == length - 1
    assert scored.loss == pytest.approx(expected / (length - 1), rel=1e-4)
    assert scored.bits_per_byte == pytest.approx(expected / math.log(2) / (3 * length), rel=1e-4)
    assert scored.perplexity == pytest.approx(math.exp(scored.loss))


def test_nothing_to_predict_is_an_error(model: Transformer) -> None:
    with pytest.raises(CorpusError, match="no text to evaluate on"):
        evaluate(model, Stream(np.zeros(1, dtype=np.int64)), 10, precision=FLOAT32)
