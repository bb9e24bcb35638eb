"""Models of random weights in the sizes that the peers are measured with, in each format."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from ingot.artifact import Provenance, Scheme, freeze, round_model
from ingot.model import ModelConfig, Tokenizer

Format = Literal["bf16", "int8", "int4"]

SHAPES = {
    "5M": ModelConfig(
        vocab_size=4096,
        hidden_size=256,
        intermediate_size=704,
        num_hidden_layers=5,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=64,
        max_position_embeddings=2048,
    ),
    "100M": ModelConfig(
        vocab_size=32_000,
        hidden_size=768,
        intermediate_size=2048,
        num_hidden_layers=12,
        num_attention_heads=12,
        num_key_value_heads=4,
        head_dim=64,
        max_position_embeddings=2048,
    ),
    "600M": ModelConfig(
        vocab_size=151_936,
        hidden_size=1024,
        intermediate_size=3072,
        num_hidden_layers=28,
        num_attention_heads=16,
        num_key_value_heads=8,
        head_dim=128,
        max_position_embeddings=2048,
    ),
}


def make_random_ingot(folder: Path, shape: str, kind: Format) -> Path:
    """Freeze a model of a shape, with a tokenizer of 280 tokens."""
    tokenizer = Tokenizer.train(["any text will do, for it is never read\n"] * 4, 280)
    return freeze_random(folder / f"{shape}-{kind}.ingot", SHAPES[shape], tokenizer, kind)


def code_tokenizer(vocab_size: int) -> Tokenizer:
    """Return a tokenizer trained on this project's source."""
    texts = [path.read_text(encoding="utf-8") for path in sorted(Path("src").rglob("*.py"))]
    return Tokenizer.train(texts, vocab_size)


def freeze_random(out: Path, config: ModelConfig, tokenizer: Tokenizer, kind: Format) -> Path:
    """Freeze random weights of a fixed seed; the speed does not depend on their values."""
    rng = np.random.default_rng(0)
    weights = {
        name: rng.standard_normal(size, dtype=np.float32) * np.float32(0.03)
        if len(size) == 2
        else np.ones(size, np.float32)
        for name, size in config.tensor_shapes().items()
    }
    # A trained model hardly ever breaks a character, random weights in a vocabulary of single
    # bytes at every second token, and each is sampled again: scores of zero are never the highest.
    broken = [i for i in range(tokenizer.vocab_size) if "\ufffd" in tokenizer.decode([i])]
    weights["lm_head.weight" if "lm_head.weight" in weights else "model.embed_tokens.weight"][
        broken
    ] = 0
    # int4 with 64 inputs a scale: 4.5 bits a weight, as llama.cpp's Q4_0 has.
    group = 64 if kind == "int4" else None
    quantized = None if kind == "bf16" else round_model(weights, config, Scheme(kind, group))
    freeze(weights, config, tokenizer, out, provenance=Provenance(), quantized=quantized).close()
    return out


def matrix_products(config: ModelConfig) -> int:
    """Return the multiply-adds of one token in all matrices, without attention."""
    rows = config.vocab_size * config.hidden_size
    shapes = config.tensor_shapes()
    head = 0 if "lm_head.weight" in shapes else rows
    looked_up = rows  # a row of the embedding is read, not multiplied
    return sum(a * b for a, b in (s for s in shapes.values() if len(s) == 2)) - looked_up + head
