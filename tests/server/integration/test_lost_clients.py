"""What happens to the engine's work when a client, a deadline or the engine itself gives up."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator

import httpx
import pytest

from ingot.artifact import Ingot
from ingot.inference import EngineLoop, OutputDelta, SamplingParams
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


@pytest.fixture
def witness(ingot: Ingot, engine: EngineLoop, wait_until: Wait) -> Iterator[Callable[[], bool]]:
    """Start a sequence that ends before any other of LONG can; tell whether it runs alone.

    If it does, the others were cancelled: by themselves they would have outlived it.
    """
    params = SamplingParams(max_tokens=1500, ignore_eos=True)
    said: list[OutputDelta] = []
    sequence = engine.submit(ingot.tokenizer.encode("def"), params, said.append)

    def alone() -> bool:
        stats = engine.stats()
        assert said[-1].finish_reason is None
        return stats.running == 1 and stats.waiting == 0

    wait_until(lambda: bool(said))
    yield alone
    engine.cancel(sequence)
    wait_until(lambda: is_idle(engine))


def test_a_client_that_leaves_a_stream_frees_its_sequences(
    http: httpx.Client, witness: Callable[[], bool], wait_until: Wait
) -> None:
    with http.stream("POST", URL, json=LONG | {"stream": True}) as response:
        assert next(response.iter_lines()).startswith('data: {"id"')
        assert not witness()
    wait_until(witness)


def test_a_client_that_leaves_while_it_waits_frees_its_sequences(
    server: Server, witness: Callable[[], bool], wait_until: Wait
) -> None:
    with connect(server, LONG):
        wait_until(lambda: not witness())
    wait_until(witness)


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
    server: Server, http: httpx.Client, engine: EngineLoop, wait_until: Wait
) -> None:
    asked = LONG | {"max_tokens": 300, "temperature": 0}
    with connect(server, asked | {"stream": True}) as connection:
        wait_until(lambda: not is_idle(engine))
        wait_until(lambda: is_idle(engine))  # all is written before the first byte is read
        received = b"".join(iter(lambda: connection.recv(65_536), b"")).decode()
    texts = [""] * 16
    for line in received.splitlines():
        if line.startswith("data: {"):
            for choice in json.loads(line.removeprefix("data: "))["choices"]:
                texts[choice["index"]] += choice["text"]
    assert "data: [DONE]" in received
    whole = http.post(URL, json=asked).json()
    assert texts == [choice["text"] for choice in whole["choices"]]


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
