from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from ingot.errors import ServeError, TrainingError
from ingot.server.page.run_monitor import RunMonitor


class Run:
    """A run that can be paused and cannot be sealed."""

    def __init__(self) -> None:
        self.paused = False

    def pause(self) -> str:
        self.paused = True
        return "waits"

    def freeze(self) -> str:
        raise TrainingError("has no checkpoint", where="run", fix="wait")


@pytest.fixture
def metrics(tmp_path: Path) -> Path:
    return tmp_path / "metrics.jsonl"


@pytest.fixture
def http(metrics: Path) -> Iterator[httpx.Client]:
    run = Run()
    actions = {"pause": run.pause, "freeze": run.freeze}
    with (
        RunMonitor("<mine>", metrics, actions, lambda: run.paused) as server,
        httpx.Client(base_url=server.url, timeout=300) as http,
    ):
        yield http


def test_metrics_are_read_from_an_offset(http: httpx.Client, metrics: Path) -> None:
    empty = http.get("/run/metrics.jsonl")
    assert (empty.content, empty.headers["x-metrics-size"]) == (b"", "0")
    metrics.write_bytes(b'{"a": 1}\n{"b": 2}\n')
    answer = http.get("/run/metrics.jsonl", params={"start": 9})
    assert (answer.content, answer.headers["x-metrics-size"]) == (b'{"b": 2}\n', "18")
    for start in (-1, 18, 10**18):
        assert http.get("/run/metrics.jsonl", params={"start": start}).content == b""
    assert http.get("/run/metrics.jsonl", params={"start": "x"}).status_code == 422


def test_actions_reach_the_run_and_errors_come_back(http: httpx.Client) -> None:
    assert http.get("/run").json() == {
        "name": "<mine>",
        "paused": False,
        "actions": ["freeze", "pause"],
    }
    assert http.post("/run/pause", json={}).json() == {"message": "waits"}
    assert http.get("/run").json()["paused"]
    refused = http.post("/run/freeze", json={})
    assert refused.status_code == 409
    assert "has no checkpoint" in refused.json()["error"]["message"]
    assert http.post("/run/dance", json={}).status_code == 404


def test_other_sites_cannot_ask(http: httpx.Client) -> None:
    form = http.post("/run/pause", data={"a": "b"})
    assert form.status_code == 415
    renamed = http.get("/run", headers={"host": "evil.example"})
    assert renamed.status_code == 421
    assert not http.get("/run").json()["paused"]


def test_the_page_knows_that_it_watches(http: httpx.Client) -> None:
    page = http.get("/")
    assert '<body data-run="&lt;mine&gt;"' in page.text
    assert "script-src 'self'" in page.headers["content-security-policy"]
    assert http.get("/page/app.js").status_code == 200


def test_a_port_in_use_is_named(metrics: Path) -> None:
    with RunMonitor("one", metrics, {}, lambda: False) as server:
        port = int(server.url.rpartition(":")[2])
        with pytest.raises(ServeError, match=f"port {port} is in use"):
            RunMonitor("other", metrics, {}, lambda: False, port=port)
