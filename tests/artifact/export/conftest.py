"""Small ingots whose widths the blocks of every format divide."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ingot.artifact import Ingot, Provenance, Scheme, freeze, round_model
from ingot.artifact.quantization.quantize import QuantizedModel
from ingot.model import ModelConfig, Tokenizer

Weights = dict[str, np.ndarray]
Make = Callable[..., Ingot]

SIZES = {
    "vocab_size": 320,
    "hidden_size": 64,
    "intermediate_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 64,
}


@pytest.fixture(scope="session")
def small_config() -> ModelConfig:
    return ModelConfig(**SIZES)  # type: ignore[arg-type]


def drawn(config: ModelConfig, seed: int = 0) -> Weights:
    """Random weights; norms near one, biases near zero, so that nothing overflows."""
    rng = np.random.default_rng(seed)
    return {
        name: (
            rng.normal(scale=0.1, size=shape) + (len(shape) == 1 and name.endswith("weight"))
        ).astype(np.float32)
        for name, shape in config.tensor_shapes().items()
    }


@pytest.fixture
def make(tmp_path: Path, small_config: ModelConfig, tokenizer: Tokenizer) -> Make:
    """Freeze random weights; the ingot is open."""

    def run(
        scheme: Scheme | None = None,
        config: ModelConfig = small_config,
        dtype: str = "bfloat16",
        **provenance: object,
    ) -> Ingot:
        weights = drawn(config)
        quantized: QuantizedModel | None = None
        if scheme is not None:
            quantized = round_model(weights, config, scheme)
        return freeze(
            weights,
            config,
            tokenizer,
            tmp_path / "small.ingot",
            provenance=Provenance(corpus_digest="c" * 64, bits_per_byte=1.5, **provenance),  # type: ignore[arg-type]
            dtype=dtype,  # type: ignore[arg-type]
            quantized=quantized,
        )

    return run
