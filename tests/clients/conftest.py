from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ingot.artifact import open_ingot
from ingot.inference import Engine, EngineLoop
from ingot.inference.executors.torch import TorchExecutor
from ingot.model import Tokenizer
from ingot.server import Server, ServerConfig
from tests.random_model import freeze_random, small_config

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
    config = small_config(vocab_size=420, num_hidden_layers=1, max_position_embeddings=8192)
    out: Path = tmp_path_factory.mktemp("clients") / "tiny.ingot"
    freeze_random(out, config, tokenizer)
    with open_ingot(out) as ingot:
        engine = EngineLoop(Engine(TorchExecutor(ingot), ingot.tokenizer))
        try:
            with Server(ingot, engine, ServerConfig(port=0)) as server:
                yield server.url
        finally:
            engine.close(5)
