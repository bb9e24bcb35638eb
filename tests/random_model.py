"""A small model of random weights, of which most tests need only that it is one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingot.artifact import Provenance, freeze
from ingot.model import ModelConfig, Tokenizer


def small_config(**changes: Any) -> ModelConfig:
    """Return its configuration, with fields changed."""
    fields: dict[str, Any] = {
        "vocab_size": 320,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "max_position_embeddings": 64,
    }
    return ModelConfig(**fields | changes)


def random_weights(config: ModelConfig, seed: int = 0) -> dict[str, NDArray[np.float32]]:
    """Draw every weight, so that no layer is the identity."""
    rng = np.random.default_rng(seed)
    return {
        name: rng.normal(scale=0.3, size=shape).astype(np.float32)
        for name, shape in config.tensor_shapes().items()
    }


def freeze_random(out: Path, config: ModelConfig, tokenizer: Tokenizer, seed: int = 0) -> Path:
    """Seal such a model."""
    weights = random_weights(config, seed)
    freeze(weights, config, tokenizer, out, provenance=Provenance()).close()
    return out
