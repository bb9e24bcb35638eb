from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from ingot.artifact import Ingot
from ingot.inference import EngineLoop
from ingot.server import Server, ServerConfig
from ingot.server.access.api_keys import make_key
from ingot.server.routes import admin


@pytest.mark.parametrize(
    ("config", "status"),
    [
        (ServerConfig(port=0), 200),
        (ServerConfig(port=0, allow_public=True), 403),
        (ServerConfig(port=0, allow_public=True, open_admin=True), 200),
    ],
)
def test_a_public_server_without_keys_keeps_requests_to_itself(
    ingot: Ingot, engine: EngineLoop, config: ServerConfig, status: int
) -> None:
    """FAULTS A8: nobody lists or ends everyone's requests unless a flag says so."""
    with (
        Server(ingot, engine, config) as server,
        httpx.Client(base_url=server.url, timeout=300) as http,
    ):
        assert http.get("/admin/activity").status_code == status
        cancelled = http.post("/admin/cancel", json={"number": 1})
        assert cancelled.status_code == (404 if status == 200 else 403)
        if status == 403:
            assert "--open-admin" in cancelled.json()["error"]["message"]
            assert http.post("/admin/quantize", json={"model": "tiny"}).status_code == 403


@pytest.mark.parametrize("path", ["a\0b", "\0", "/x\0"])
def test_a_path_that_no_file_can_have_is_refused(
    ingot: Ingot, engine: EngineLoop, tmp_path: Path, path: str
) -> None:
    """FAULTS B5: a NUL in an admin path is the client's error, not the server's."""
    key, entry = make_key("admin")
    keys = tmp_path / "keys.toml"
    keys.write_text(entry + "admin = true\n")
    headers = {"authorization": f"Bearer {key}"}
    with Server(ingot, engine, ServerConfig(port=0, api_keys=keys)) as server:
        body = {"model": "tiny", "path": path}
        answer = httpx.post(f"{server.url}/admin/ingots", json=body, headers=headers, timeout=300)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "path"


def test_verifying_rests_four_times_as_long_as_it_took(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hashing all weights in a loop must not take the memory bus from those who generate."""
    now, rested, at_once = [0.0], list[float](), [0, 0]

    async def sleep(seconds: float) -> None:
        rested.append(seconds)
        now[0] += seconds

    def hash_weights() -> dict[str, str]:
        at_once[0] += 1
        at_once[1] = max(at_once)
        now[0] += 3.0
        at_once[0] -= 1
        return {}

    clock = SimpleNamespace(monotonic=lambda: now[0])
    threads = SimpleNamespace(Lock=asyncio.Lock, sleep=sleep, to_thread=asyncio.to_thread)
    monkeypatch.setattr(admin, "time", clock)
    monkeypatch.setattr(admin, "asyncio", threads)
    model: Any = SimpleNamespace(loop=SimpleNamespace(weight_digests=hash_weights))

    async def run() -> None:
        verifier = admin._Verifier()
        await asyncio.gather(*(verifier.digests(model) for _ in range(3)))

    asyncio.run(run())
    assert rested == [0.0, 12.0, 12.0]
    assert at_once == [0, 1]
