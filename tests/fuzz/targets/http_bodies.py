"""Bodies of requests: the routes that read one, from the ASGI application down to an engine."""

from __future__ import annotations

import asyncio
import functools
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

from starlette.types import ASGIApp

from ingot.api.inference import load
from ingot.costs import CostConfig
from ingot.errors import UsageError
from ingot.model import ModelConfig, Tokenizer
from ingot.server import ServerConfig
from ingot.server.access.admission import Admission
from ingot.server.access.in_flight import Activity
from ingot.server.app import create_app
from ingot.server.engine.costs import CostMeter
from ingot.server.engine.metrics import Metrics
from ingot.server.engine.model_registry import Models, ServedModel
from ingot.server.engine.outcomes import Outcomes
from ingot.server.engine.response_store import ResponseStore
from ingot.server.engine.service import Service
from ingot.server.engine.sleeping import Sleeper
from tests.fuzz.mutate import dump, mutate_bytes, mutate_json
from tests.random_model import freeze_random

_PARAMETERS = {
    "Any": {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
}
_TOOL = {"type": "function", "function": {"name": "f", "parameters": _PARAMETERS["Any"]}}
_SAMPLED = {"temperature": 0.5, "top_p": 0.9, "seed": 1, "stop": ["x"], "logit_bias": {"3": 1.0}}
_CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 2}
_SOUND: tuple[tuple[str, dict[str, Any]], ...] = (
    ("/v1/completions", {"model": "m", "prompt": "def", "max_tokens": 2, **_SAMPLED}),
    ("/v1/completions", {"model": "m", "prompt": [[1, 2], [3]], "max_tokens": 2, "stream": True}),
    (
        "/v1/completions",
        {"model": "m", "prompt": "a", "echo": True, "logprobs": 2, "max_tokens": 0},
    ),
    ("/v1/chat/completions", {**_CHAT, "tools": [_TOOL], "tool_choice": "auto", "n": 2}),
    ("/v1/chat/completions", {**_CHAT, "logprobs": True, "top_logprobs": 2}),
    ("/v1/responses", {"model": "m", "input": "hi", "max_output_tokens": 2}),
    ("/v1/embeddings", {"model": "m", "input": ["a", "b"]}),
    ("/tokenize", {"model": "m", "prompt": "def area"}),
    ("/detokenize", {"model": "m", "tokens": [1, 2, 3]}),
)
_CONTEXT = 512


def examples() -> Sequence[bytes]:
    return [_request(path, dump(body)) for path, body in _SOUND]


def make(random: Random) -> bytes:
    path, body = random.choice(_SOUND)
    data = dump(mutate_json(random, body))
    return _request(path, mutate_bytes(random, data) if random.random() < 0.3 else data)


def attempt(data: bytes) -> None:
    path, _, body = data.partition(b"\n")
    loop, app = _server()
    status, answer = loop.run_until_complete(_ask(app, path.decode(), body))
    if status == 504:  # its own time-out was shorter than its answer
        return
    if status >= 500:
        raise AssertionError(f"{status}: {answer[:500]!r}")
    if status >= 400:
        raise UsageError(json.loads(answer)["error"]["message"])


def _request(path: str, body: bytes) -> bytes:
    return path.encode() + b"\n" + body


async def _ask(app: ASGIApp, path: str, body: bytes) -> tuple[int, bytes]:
    """Send one request to the application; return the status and the body of the answer."""
    sent, answer, over = [{"type": "http.request", "body": body}], bytearray(), asyncio.Event()
    status = 0

    async def receive() -> Any:
        if sent:
            return sent.pop()
        await over.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
        answer.extend(message.get("body", b""))

    headers = [(b"host", b"localhost"), (b"content-type", b"application/json")]
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "path": path,
        "query_string": b"",
        "headers": headers,
    }
    await app(scope, receive, send)
    return status, bytes(answer)


@functools.cache
def _server() -> tuple[asyncio.AbstractEventLoop, ASGIApp]:
    """Return the application, and the event loop in which it runs for all inputs."""
    loaded, config = _model(), ServerConfig()
    models = Models([ServedModel("m", loaded.ingot, loaded.loop)], None)
    admission = Admission(config)
    costs, outcomes = CostMeter(CostConfig()), Outcomes()
    service = Service(
        config=config,
        models=models,
        admission=admission,
        activity=Activity(),
        metrics=Metrics(models, admission, costs, outcomes, lambda: 0),
        costs=costs,
        outcomes=outcomes,
        responses=ResponseStore(config),
        sleeper=Sleeper(models, None),
        tracer=None,
        keys=None,
    )
    return asyncio.new_event_loop(), create_app(service)


def _model() -> Any:
    tokenizer = Tokenizer.train(["def area(width, height):\n    return width * height\n"] * 4, 300)
    config = ModelConfig(
        vocab_size=300,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        max_position_embeddings=_CONTEXT,
    )
    out = Path(tempfile.mkdtemp(prefix="ingot-fuzz-")) / "m.ingot"
    freeze_random(out, config, tokenizer)
    return load(out)
