"""A model of a few thousand weights, and a tokenizer to go with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import ingot
from ingot.model import ModelConfig, Tokenizer
from ingot.model.transformer import Transformer

SOURCE = Path(ingot.__file__).parent
NewModel = Callable[..., Transformer]


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    texts = [path.read_text() for path in sorted((SOURCE / "model").glob("*.py"))]
    return Tokenizer.train(texts, 320)


@pytest.fixture
def new_model(tokenizer: Tokenizer) -> NewModel:
    """Make a model whose every weight is drawn at random, so that no layer is the identity."""

    def make(*, seed: int = 1, context: int = 64, vocab_size: int | None = None) -> Transformer:
        config = ModelConfig(
            vocab_size=vocab_size or tokenizer.vocab_size,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=8,
            max_position_embeddings=context,
            tie_word_embeddings=False,
        )
        model = Transformer(config)
        generator = torch.Generator().manual_seed(seed)
        model.initialise(generator)
        for name, parameter in model.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                torch.nn.init.normal_(parameter, std=0.2, generator=generator)
        return model

    return make
