from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ingot.artifact import Provenance, freeze, open_ingot
from ingot.inference import Engine, EngineLoop
from ingot.inference.executors.torch import TorchExecutor
from ingot.model import ModelConfig, Tokenizer
from ingot.server import Server, ServerConfig

TEXT = (
    "You may call these functions: to call one, write its name and arguments.\n"
    '{"type": "function", "function": {"name": "area", "description": "The area of the room.", '
    '"parameters": {"type": "object", "properties": {"unit": {"type": "string", "enum": ["m"]}}, '
    '"required": ["unit"], "additionalProperties": false}}}\n'
    "user\nHow large is the room?\nassistant\n"
)


@pytest.fixture(scope="package")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of a small model with random weights, whose context holds tools and turns."""
    tokenizer = Tokenizer.train([TEXT * 4], 420)
    config = ModelConfig(
        vocab_size=420,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=1,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=8192,
    )
    rng = np.random.default_rng(0)
    weights = {
        name: rng.normal(scale=0.3, size=shape).astype(np.float32)
        for name, shape in config.tensor_shapes().items()
    }
    out: Path = tmp_path_factory.mktemp("clients") / "tiny.ingot"
    freeze(weights, config, tokenizer, out, provenance=Provenance()).close()
    with open_ingot(out) as ingot:
        engine = EngineLoop(Engine(TorchExecutor(ingot), ingot.tokenizer))
        try:
            with Server(ingot, engine, ServerConfig(port=0)) as server:
                yield server.url
        finally:
            engine.close(5)
