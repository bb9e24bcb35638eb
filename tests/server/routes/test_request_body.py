from __future__ import annotations

import json
from collections.abc import Callable

import httpx
import pytest

from ingot.artifact import Ingot
from ingot.inference import EngineLoop
from ingot.server import Server, ServerConfig
from ingot.server.access.admission import Admission

IDS = {"model": "tiny", "prompt": [1] * 480_000}
LISTS = {"model": "tiny", "prompt": [[1] * 3_800] * 120}
NESTED = {"model": "tiny", "prompt": "a", "structured_outputs": {"json": {"a": [[]] * 200_000}}}
UNKNOWN = {"model": "tiny", "prompt": "a"} | {str(number): 1 for number in range(90_000)}


@pytest.mark.parametrize("body", [IDS, LISTS, NESTED, UNKNOWN])
def test_a_body_of_very_many_values_is_refused_before_it_is_parsed(
    http: httpx.Client, body: dict[str, object]
) -> None:
    """FAULTS A5: size is admitted by entries too."""
    content = json.dumps(body, separators=(",", ":"))
    assert len(content) < 1_000_000
    headers = {"content-type": "application/json"}
    response = http.post("/v1/completions", content=content, headers=headers)
    assert response.status_code == 413
    assert "too many values" in response.json()["error"]["message"]


def test_long_text_is_not_many_values(http: httpx.Client) -> None:
    response = http.post("/v1/completions", json={"model": "tiny", "prompt": "one, two " * 100_000})
    assert response.json()["error"]["code"] == "context_length_exceeded"


def test_bodies_of_all_requests_together_are_bounded(
    ingot: Ingot, engine: EngineLoop, wait_until: Callable[[Callable[[], bool]], None]
) -> None:
    config = ServerConfig(port=0, max_open_body_bytes=2000)
    with (
        Server(ingot, engine, config) as server,
        httpx.Client(base_url=server.url, timeout=300) as http,
    ):
        body = {"model": "tiny", "prompt": "def " * 300, "max_tokens": 1}
        for _ in range(3):
            # A body is released when its request is over, which its client may learn before.
            wait_until(lambda: http.post("/v1/completions", json=body).status_code == 200)
        response = http.post("/v1/completions", json={"model": "tiny", "prompt": "def " * 500})
        assert response.status_code == 429
        assert response.headers["retry-after"]


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "invalid_json"),
        (b"{", "invalid_json"),
        (b"[]", "invalid_type"),
        (b'{"model": "tiny"}', "missing_field"),
        (b'{"model": "tiny", "prompt": "a", "x": 1}', "unknown_field"),
        (b'{"model": "tiny", "prompt": "\\ud800"}', "invalid_json"),
        (b"\xff", "invalid_json"),
        (b"[" * 10_000, "invalid_json"),
    ],
)
def test_what_is_wrong_is_named(http: httpx.Client, content: bytes, code: str) -> None:
    headers = {"content-type": "application/json"}
    response = http.post("/v1/completions", content=content, headers=headers)
    assert response.status_code == 400
    assert response.json()["error"]["code"] == code


def test_long_bodies_are_read_at_a_pace_and_short_ones_at_once(
    http: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FAULTS A4: what is sent only to be refused takes a bounded share of the event loop."""
    paced: list[int] = []
    wait_s = Admission.body_wait_s

    def noting(self: Admission, count: int, key: str) -> float:
        paced.append(count)
        return wait_s(self, count, key)

    monkeypatch.setattr(Admission, "body_wait_s", noting)
    for length in (60_000, 900_000):
        body = {"model": "tiny", "prompt": "a" * length}
        assert http.post("/v1/completions", json=body).status_code == 400
    assert 700_000 < sum(paced) < 900_100
