from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import openai
import pytest

from ingot.artifact import Ingot, open_ingot
from ingot.inference import Engine, EngineLoop, OutputDelta, SamplingParams
from ingot.inference.executors.torch import TorchExecutor
from ingot.model import Tokenizer
from ingot.server import Server, ServerConfig
from ingot.server.engine.stream import join
from tests.random_model import freeze_random, small_config

CONTEXT = 2048
TEXT = "def area(width, height):\n    return width * height\n" * 4 + "the quick brown fox " * 8


@pytest.fixture(scope="session")
def ingot_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model with random weights, frozen."""
    tokenizer = Tokenizer.train([TEXT], 300)
    config = small_config(max_position_embeddings=CONTEXT)
    out = tmp_path_factory.mktemp("server") / "tiny.ingot"
    freeze_random(out, config, tokenizer)
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
