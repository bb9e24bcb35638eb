from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from ingot.artifact import Ingot
from ingot.inference import EngineLoop
from ingot.server import Server, ServerConfig
from ingot.server.access.api_keys import make_key

LONG = {"model": "tiny", "prompt": "the quick", "max_tokens": 2000, "ignore_eos": True}


def with_key(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"} if key else {}


class Asking:
    """A long request, asked in a thread of its own."""

    def __init__(self, server: Server, *, stream: bool, key: str = "") -> None:
        self._how: dict[str, Any] = {"headers": with_key(key), "timeout": 60}
        self._url, self._stream = f"{server.url}/v1/completions", stream
        self.status, self.text = 0, ""
        self._thread = threading.Thread(target=self._ask)
        self._thread.start()

    def _ask(self) -> None:
        answer = httpx.post(self._url, json={**LONG, "stream": self._stream}, **self._how)
        self.status, self.text = answer.status_code, answer.text

    def join(self) -> None:
        self._thread.join(300)
        assert not self._thread.is_alive()


def activity(server: Server, key: str = "") -> Any:
    answer = httpx.get(f"{server.url}/admin/activity", headers=with_key(key), timeout=300)
    assert answer.status_code == 200, answer.text
    return answer.json()


def cancel(server: Server, number: int, key: str = "") -> httpx.Response:
    return httpx.post(
        f"{server.url}/admin/cancel",
        json={"number": number},
        headers=with_key(key),
        timeout=300,
    )


@pytest.mark.parametrize("stream", [False, True])
def test_a_request_is_listed_while_it_runs_and_can_be_cancelled(
    server: Server, engine: EngineLoop, wait_until: Callable[..., None], stream: bool
) -> None:
    before = {use["key"]: use["requests"] for use in activity(server)["keys"]}
    asking = Asking(server, stream=stream)
    wait_until(lambda: any(r["completion_tokens"] > 2 for r in activity(server)["requests"]))
    (listed,) = activity(server)["requests"]
    assert (listed["model"], listed["streamed"], listed["key"]) == ("tiny", stream, "")
    assert listed["prompt_tokens"] > 0
    assert listed["seconds"] > 0
    assert cancel(server, listed["number"]).json() == {"number": listed["number"]}
    asking.join()
    assert asking.status == (200 if stream else 409)
    assert "was cancelled" in asking.text
    wait_until(lambda: engine.stats().running == 0)
    report = activity(server)
    assert report["requests"] == []
    (use,) = report["keys"]
    assert use["requests"] == before.get("", 0) + 1
    assert use["completion_tokens"] > 2
    assert cancel(server, listed["number"]).status_code == 404


def test_a_key_sees_and_ends_its_own_requests_alone(
    ingot: Ingot, engine: EngineLoop, tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    path = tmp_path / "keys.toml"
    (one, first), (other, second), (chief, third) = map(make_key, ("one", "other", "chief"))
    path.write_text(f"{first}{second}{third}admin = true\n")
    path.chmod(0o600)
    with Server(ingot, engine, ServerConfig(port=0, api_keys=path)) as server:
        asking = [Asking(server, stream=True, key=key) for key in (one, other)]
        wait_until(lambda: len(activity(server, chief)["requests"]) == 2)
        (mine,) = activity(server, one)["requests"]
        (theirs,) = activity(server, other)["requests"]
        assert (mine["key"], theirs["key"]) == ("one", "other")
        assert cancel(server, theirs["number"], one).status_code == 404
        assert cancel(server, mine["number"], one).status_code == 200
        assert cancel(server, theirs["number"], chief).status_code == 200
        for each in asking:
            each.join()
        wait_until(lambda: not activity(server, chief)["requests"])
        assert [use["key"] for use in activity(server, one)["keys"]] == ["one"]
        assert [use["key"] for use in activity(server, chief)["keys"]] == ["one", "other"]
        assert httpx.get(f"{server.url}/admin/activity", timeout=300).status_code == 401


def test_what_a_key_was_refused_is_counted(
    ingot: Ingot, engine: EngineLoop, tmp_path: Path
) -> None:
    path = tmp_path / "keys.toml"
    key, entry = make_key("bounded")
    path.write_text(f"{entry}requests_per_minute = 1\n")
    path.chmod(0o600)
    with Server(ingot, engine, ServerConfig(port=0, api_keys=path)) as server:
        asked = LONG | {"max_tokens": 5}
        for expected in (200, 429, 429):
            answer = httpx.post(
                f"{server.url}/v1/completions", json=asked, headers=with_key(key), timeout=30
            )
            assert answer.status_code == expected
        report = activity(server, key)
    (use,), (outcome,) = report["keys"], report["outcomes"]
    assert outcome["refused"] == {"rate_limit_exceeded": 2}
    assert (outcome["model"], outcome["key"], outcome["attainment"]) == ("", "bounded", None)
    assert (use["requests"], use["refused"], use["completion_tokens"]) == (3, 2, 5)
