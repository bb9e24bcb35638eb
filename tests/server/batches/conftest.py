from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openai
import pytest

from ingot.artifact import Ingot
from ingot.inference import EngineLoop
from ingot.server import Server, ServerConfig

ENDED = {"completed", "failed", "expired", "cancelled"}


def line(custom_id: str, url: str = "/v1/completions", **body: Any) -> dict[str, Any]:
    body = {"model": "tiny", "prompt": "def", "max_tokens": 4, "temperature": 0} | body
    return {"custom_id": custom_id, "method": "POST", "url": url, "body": body}


def jsonl(lines: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(one).encode() + b"\n" for one in lines)


def parsed(content: str) -> dict[str, dict[str, Any]]:
    """Return the lines of a file by their ``custom_id``, each of which is there once."""
    lines = [json.loads(one) for one in content.splitlines()]
    found = {one["custom_id"]: one for one in lines}
    assert len(found) == len(lines)
    assert len({one["id"] for one in lines}) == len(lines)
    return found


class Client:
    """OpenAI's client, with what the tests do often."""

    def __init__(self, url: str, key: str = "any") -> None:
        self.openai = openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)

    def begin(
        self, lines: list[dict[str, Any]], endpoint: Any = "/v1/completions", **more: Any
    ) -> Any:
        file = self.openai.files.create(file=("in.jsonl", jsonl(lines)), purpose="batch")
        window: Any = more.pop("completion_window", "24h")
        return self.openai.batches.create(
            input_file_id=file.id, endpoint=endpoint, completion_window=window, **more
        )

    def wait(self, batch_id: str, wanted: Callable[[Any], bool] | None = None) -> Any:
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline:
            batch = self.openai.batches.retrieve(batch_id)
            if wanted(batch) if wanted else batch.status in ENDED:
                return batch
            time.sleep(0.02)
        raise AssertionError(batch)

    def results(self, file_id: str | None) -> dict[str, dict[str, Any]]:
        return parsed(self.openai.files.content(file_id).text) if file_id else {}


MakeServer = Callable[..., Any]


@pytest.fixture
def serve(ingot: Ingot, engine: EngineLoop, tmp_path: Path) -> MakeServer:
    """Start a server with batches in ``tmp_path``; keywords are ``ServerConfig``'s."""

    @contextmanager
    def start(**config: Any) -> Iterator[Client]:
        config = {"port": 0, "batches": tmp_path / "batches", "drain_timeout_s": 1.0} | config
        with Server(ingot, engine, ServerConfig(**config)) as server:
            yield Client(server.url)

    return start


@pytest.fixture
def client(serve: MakeServer) -> Iterator[Client]:
    with serve() as client:
        yield client
