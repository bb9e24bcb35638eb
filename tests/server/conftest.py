from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import numpy as np
import openai
import pytest

from ingot.artifact import Ingot, Provenance, freeze, open_ingot
from ingot.inference import Engine, EngineLoop, OutputDelta, SamplingParams
from ingot.inference.executors.torch import TorchExecutor
from ingot.model import ModelConfig, Tokenizer
from ingot.server import Server, ServerConfig
from ingot.server.engine.stream import join

CONTEXT = 2048
TEXT = "def area(width, height):\n    return width * height\n" * 4 + "the quick brown fox " * 8


@pytest.fixture(scope="session")
def ingot_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model with random weights, frozen."""
    tokenizer = Tokenizer.train([TEXT], 300)
    config = ModelConfig(
        vocab_size=320,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=CONTEXT,
    )
    rng = np.random.default_rng(0)
    weights = {
        name: rng.normal(scale=0.3, size=shape).astype(np.float32)
        for name, shape in config.tensor_shapes().items()
    }
    out = tmp_path_factory.mktemp("server") / "tiny.ingot"
    freeze(weights, config, tokenizer, out, provenance=Provenance()).close()
    return out


@pytest.fixture(scope="session")
def ingot(ingot_path: Path) -> Iterator[Ingot]:
    with open_ingot(ingot_path) as ingot:
        yield ingot


@pytest.fixture(scope="session")
def make_engine(ingot: Ingot) -> Callable[[], EngineLoop]:
    """Start an engine of its own; the caller closes it."""

    def make() -> EngineLoop:
        return EngineLoop(Engine(TorchExecutor(ingot), ingot.tokenizer))

    return make


@pytest.fixture(scope="session")
def engine(make_engine: Callable[[], EngineLoop]) -> Iterator[EngineLoop]:
    engine = make_engine()
    yield engine
    engine.close(5)


@pytest.fixture(scope="session")
def server(ingot: Ingot, engine: EngineLoop) -> Iterator[Server]:
    """A server that all tests of the room share; each leaves it idle."""
    with Server(ingot, engine, ServerConfig(port=0)) as server:
        yield server


@pytest.fixture(scope="session")
def http(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=300) as client:
        yield client


@pytest.fixture(scope="session")
def client(server: Server) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="any", max_retries=0) as client:
        yield client


@pytest.fixture(scope="session")
def count_tokens(ingot: Ingot) -> Callable[[str | list[int]], int]:
    def count(prompt: str | list[int]) -> int:
        return len(ingot.tokenizer.encode(prompt) if isinstance(prompt, str) else prompt)

    return count


@pytest.fixture(scope="session")
def ask_engine(ingot: Ingot, engine: EngineLoop) -> Callable[[str, SamplingParams], OutputDelta]:
    """Ask the engine itself, without HTTP, and return all it says as one delta."""

    def ask(prompt: str, params: SamplingParams) -> OutputDelta:
        said: queue.Queue[OutputDelta] = queue.Queue()
        engine.submit(ingot.tokenizer.encode(prompt), params, said.put)
        deltas = [said.get(timeout=300)]
        while deltas[-1].finish_reason is None:
            deltas.append(said.get(timeout=300))
        return join(deltas)

    return ask
