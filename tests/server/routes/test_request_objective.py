"""Refusal of a request before its body is parsed, where several models are served."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from ingot.artifact import Ingot, open_ingot
from ingot.inference import Engine, EngineConfig, EngineLoop
from ingot.inference.config import Weights
from ingot.inference.executors.native import NativeExecutor
from ingot.inference.scheduling.cost_model import CostModel, StepWork
from ingot.server import Server, ServerConfig

Wait = Callable[[Callable[[], bool]], None]
CONFIG = EngineConfig(max_context=256)


def engine_of(ingot: Ingot, *, slow: bool) -> EngineLoop:
    """Start an engine that knows nothing of its costs, or takes a token to cost 10 s."""
    cost = CostModel()
    for tokens in (1, 2, 4, 8, 16) * 20 if slow else ():
        cost.observe(StepWork.of([(tokens, 0)]), 10.0 * tokens)
    executor = NativeExecutor(ingot, num_blocks=CONFIG.blocks_for(ingot.config))
    return EngineLoop(Engine(executor, ingot.tokenizer, CONFIG, cost=cost))


def load_slow(path: Path, _weights: Weights) -> tuple[Ingot, EngineLoop]:
    """Open an ingot and start a slow engine, as a server's loader does."""
    ingot = open_ingot(path)
    return ingot, engine_of(ingot, slow=True)


@pytest.fixture(scope="module")
def http(ingot: Ingot, ingot_path: Path) -> Iterator[httpx.Client]:
    """A server of a slow and a quick model, which loads slow ones."""
    quick, slow = engine_of(ingot, slow=False), engine_of(ingot, slow=True)
    config = ServerConfig(
        port=0, model_name="quick", objective="ttft=1s", ingots_folder=ingot_path.parent
    )
    further = [("slow", ingot, slow)]
    try:
        with (
            Server(ingot, quick, config, further=further, loader=load_slow) as server,
            httpx.Client(base_url=server.url, timeout=300) as client,
        ):
            yield client
    finally:
        quick.close(5)
        slow.close(5)


def post(http: httpx.Client, body: dict[str, Any] | str) -> int:
    """Return the status of a completion."""
    text = body if isinstance(body, str) else json.dumps(body)
    headers = {"content-type": "application/json"}
    return http.post("/v1/completions", content=text, headers=headers).status_code


def tried(http: httpx.Client, model: str, body: dict[str, Any] | str) -> int:
    """Return the status of a body, shortly after what the model can do was tried."""
    post(http, {"model": model, "prompt": "def", "max_tokens": 1})
    return post(http, body)


def wrong(model: str, **fields: Any) -> dict[str, Any]:
    """Return a body that is refused with 400 once it is parsed."""
    return {"model": model, "prompt": {"no": "prompt"}, **fields}


def test_each_model_refuses_by_what_it_foresees_itself(
    http: httpx.Client, wait_until: Wait
) -> None:
    wait_until(lambda: tried(http, "slow", wrong("slow")) == 429)
    assert tried(http, "quick", wrong("quick")) == 400
    assert tried(http, "slow", wrong("neither")) == 400


@pytest.mark.parametrize(
    "body",
    [
        '{"prompt": {"no": 1}, "model" :\n "slow"}',
        '{"prompt": {"no": "a \\"model\\": \\"quick\\" "}, "model": "slow"}',
    ],
)
def test_the_model_is_found_wherever_it_stands(
    http: httpx.Client, wait_until: Wait, body: str
) -> None:
    wait_until(lambda: tried(http, "slow", body) == 429)


@pytest.mark.parametrize(
    "body",
    [
        '{"prompt": {"model": "slow"}, "model": "quick"}',
        '{"prompt": {"no": "model"}, "model": "slow"}',
        '{"model": "quick", "prompt": {}, "model": "slow"}',
        '{"prompt": {"no": 1}, "mod\\u0065l": "slow"}',
        '{"prompt": {"no": 1}, "model": "slo\\u0077"}',
        '{"prompt": {"no": 1}, "model": ["slow"]}',
        '{"prompt": {"no": 1}, "model": "slow", "late": "allow"}',
        '{"prompt": {"no": 1}, "model": "slow", "objective": "none"}',
    ],
)
def test_a_body_that_may_mean_something_else_is_parsed(http: httpx.Client, body: str) -> None:
    assert tried(http, "slow", body) == 400


def test_models_that_are_loaded_refuse_early_until_they_are_unloaded(
    http: httpx.Client, wait_until: Wait, ingot_path: Path
) -> None:
    assert post(http, {"model": "later", "prompt": "def"}) == 404
    loaded = http.post("/admin/ingots", json={"model": "later", "ingot": ingot_path.name})
    assert loaded.status_code == 200, loaded.text
    wait_until(lambda: tried(http, "later", wrong("later")) == 429)
    assert http.post("/admin/unload", json={"model": "later"}).status_code == 200
    assert post(http, {"model": "later", "prompt": "def"}) == 404
    wait_until(lambda: tried(http, "slow", wrong("slow")) == 429)


def test_the_only_model_refuses_whatever_the_body(ingot: Ingot, wait_until: Wait) -> None:
    slow = engine_of(ingot, slow=True)
    config = ServerConfig(port=0, model_name="slow", objective="ttft=1s")
    body = '{"prompt": {"model": "slow"}, "model": "slow"}'
    try:
        with (
            Server(ingot, slow, config) as server,
            httpx.Client(base_url=server.url, timeout=300) as http,
        ):
            wait_until(lambda: tried(http, "slow", body) == 429)
    finally:
        slow.close(5)
