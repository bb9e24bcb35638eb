"""The bodies of errors."""

from __future__ import annotations

import httpx
import pytest

from ingot.artifact import Ingot
from ingot.inference import EngineLoop
from ingot.server import Server, ServerConfig
from ingot.server.engine.model_registry import Models

SECRET = "/srv/models/private.ingot at 0x7f00dead"


def test_an_unexpected_error_tells_the_client_nothing_of_the_server(
    ingot: Ingot, engine: EngineLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError(SECRET)

    monkeypatch.setattr(Models, "find", fail)
    with Server(ingot, engine, ServerConfig(port=0)) as server:
        answer = httpx.get(f"{server.url}/v1/models/tiny", timeout=300)
    assert answer.status_code == 500
    assert answer.json()["error"]["code"] == "internal_error"
    assert answer.headers["x-request-id"]
    assert "srv" not in answer.text
    assert "RuntimeError" not in answer.text
    assert "0x" not in answer.text
