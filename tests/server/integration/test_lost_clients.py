"""What happens to the engine's work when a client, a deadline or the engine itself gives up."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from ingot.artifact import Ingot
from ingot.inference import EngineLoop
from ingot.server import Server, ServerConfig

LONG = {"model": "tiny", "prompt": ["def"] * 16, "max_tokens": 1500, "ignore_eos": True}
URL = "/v1/completions"
Wait = Callable[[Callable[[], bool]], None]
Engines = Callable[[], EngineLoop]


def is_idle(engine: EngineLoop) -> bool:
    """Tell whether nothing runs and every block of the cache is free again."""
    stats = engine.stats()
    assert stats.failed is None  # idle, the engine checks its own integrity, and fails on a fault
    return stats.running == stats.waiting == 0 and stats.blocks_free == stats.blocks_total


class Gate:
    """Holds the engine in a step, so that nothing is a race with what it generates."""

    def __init__(self, engine: EngineLoop, monkeypatch: pytest.MonkeyPatch) -> None:
        self._engine = engine
        self._open = threading.Event()
        self._open.set()
        executor = engine._engine._executor
        step = executor.step

        def gated(*arguments: Any) -> Any:
            assert self._open.wait(300)
            return step(*arguments)

        monkeypatch.setattr(executor, "step", gated)

    def close(self) -> None:
        """Hold the step that runs now, or else the next one."""
        self._open.clear()

    def generated_after_opening(self, wait_until: Wait) -> int:
        """Let the engine run until it is idle; return the tokens that it generates."""
        before = self._engine.stats().generated_tokens
        self._open.set()
        wait_until(lambda: is_idle(self._engine))
        return self._engine.stats().generated_tokens - before


@pytest.fixture
def gate(engine: EngineLoop, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    gate = Gate(engine, monkeypatch)
    yield gate
    gate._open.set()


def nobody_is_answered(http: httpx.Client) -> bool:
    """Tell whether no request is in flight, so that all work for one was cancelled."""
    return http.get("/admin/activity").json()["requests"] == []


def test_a_client_that_leaves_a_stream_frees_its_sequences(
    http: httpx.Client, gate: Gate, wait_until: Wait
) -> None:
    with http.stream("POST", URL, json=LONG | {"stream": True}) as response:
        assert next(response.iter_lines()).startswith('data: {"id"')
        gate.close()
    wait_until(lambda: nobody_is_answered(http))
    assert (
        gate.generated_after_opening(wait_until) <= 32
    )  # of the step that ran and the one that was held


def test_a_client_that_leaves_while_it_waits_frees_its_sequences(
    server: Server, http: httpx.Client, gate: Gate, wait_until: Wait
) -> None:
    gate.close()
    with connect(server, LONG):
        wait_until(lambda: not nobody_is_answered(http))
    wait_until(lambda: nobody_is_answered(http))
    assert gate.generated_after_opening(wait_until) <= 32


def connect(server: Server, body: dict[str, object]) -> socket.socket:
    """Send a request over a bare socket."""
    host, port = server.url.removeprefix("http://").split(":")
    data = json.dumps(body).encode()
    connection = socket.create_connection((host, int(port)), timeout=300)
    head = f"POST {URL} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n"
    head += f"content-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n"
    connection.sendall(head.encode() + data)
    return connection


def test_a_slow_reader_still_gets_everything(
    server: Server, engine: EngineLoop, wait_until: Wait
) -> None:
    """Not compared with another answer: the same prompt in another batch may round otherwise."""
    asked = LONG | {"max_tokens": 300, "stream": True, "logprobs": 0}
    with connect(server, asked) as connection:
        wait_until(lambda: not is_idle(engine))
        wait_until(lambda: is_idle(engine))  # all is written before the first byte is read
        received = b"".join(iter(lambda: connection.recv(65_536), b"")).decode()
    texts, offsets, reasons = [""] * 16, [list[int]() for _ in range(16)], [""] * 16
    for line in received.split("\n"):
        if line.startswith("data: {"):
            for choice in json.loads(line.removeprefix("data: "))["choices"]:
                texts[choice["index"]] += choice["text"]
                reasons[choice["index"]] += choice["finish_reason"] or ""
                offsets[choice["index"]] += (choice["logprobs"] or {}).get("text_offset", [])
    assert "data: [DONE]" in received
    assert reasons == ["length"] * 16
    assert [len(each) for each in offsets] == [300] * 16
    for text, starts in zip(texts, offsets, strict=True):
        assert starts == sorted(starts)
        assert starts[0] == 0
        assert starts[-1] <= len(text)


def test_a_body_that_never_comes_is_given_up(ingot: Ingot, engine: EngineLoop) -> None:
    config = ServerConfig(port=0, body_timeout_s=0.2)
    with Server(ingot, engine, config) as server:
        host, port = server.url.removeprefix("http://").split(":")
        head = f"POST {URL} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\n"
        with socket.create_connection((host, int(port)), timeout=300) as connection:
            connection.sendall(f"{head}content-length: 50\r\n\r\n{{".encode())
            received = b"".join(iter(lambda: connection.recv(65_536), b"")).decode()
    assert received.startswith("HTTP/1.1 408")
    assert '"code":"body_timeout"' in received


def test_an_answer_past_its_deadline(ingot: Ingot, engine: EngineLoop, wait_until: Wait) -> None:
    config = ServerConfig(port=0, request_timeout_s=0.2)
    with Server(ingot, engine, config) as server:
        plain = httpx.post(f"{server.url}{URL}", json=LONG, timeout=300)
        streamed = httpx.post(f"{server.url}{URL}", json=LONG | {"stream": True}, timeout=300)
    assert plain.status_code == 504
    assert plain.json()["error"]["code"] == "deadline_exceeded"
    assert streamed.status_code == 200
    last = [line for line in streamed.text.splitlines() if line][-1]
    assert json.loads(last.removeprefix("data: "))["error"]["code"] == "deadline_exceeded"
    wait_until(lambda: is_idle(engine))
