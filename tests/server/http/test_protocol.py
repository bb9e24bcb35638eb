"""Connections that are slow, endless or silent, over bare sockets."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable

import httpx
import pytest

from ingot.inference import EngineLoop, OutputDelta, SamplingParams
from ingot.server import Server
from tests.server.sockets import connect, read_all


def test_a_head_that_trickles_in_is_given_up(impatient: Server) -> None:
    with connect(impatient) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\n")
        for _ in range(200):  # more would be a server that waits for ever
            try:
                connection.sendall(b"a: b\r\n")
            except OSError:
                break
            connection.settimeout(0.05)
            try:
                received = connection.recv(65_536)
            except TimeoutError:
                continue
            break
    assert received.startswith(b"HTTP/1.1 408")
    assert b'"code":"head_timeout"' in received


def test_a_connection_that_says_nothing_is_closed(impatient: Server) -> None:
    with connect(impatient) as connection:
        assert read_all(connection) == b""


def test_blank_lines_between_requests_do_not_hold_a_connection(impatient: Server) -> None:
    with connect(impatient) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n")
        assert connection.recv(65_536).startswith(b"HTTP/1.1 200")
        for _ in range(200):
            try:
                connection.sendall(b"\r\n")
                connection.settimeout(0.05)
                closed = connection.recv(65_536)
            except TimeoutError:
                continue
            except OSError:
                closed = b""
            break
    assert closed.startswith(b"HTTP/1.1 408") or closed == b""


def test_a_body_that_continues_after_its_answer_does_not_hold_a_connection(
    impatient: Server,
) -> None:
    with connect(impatient) as connection:
        connection.sendall(
            b"POST /nothing HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000000\r\n\r\n"
        )
        assert connection.recv(65_536).startswith(b"HTTP/1.1 404")
        closed = False
        for _ in range(200):
            try:
                connection.sendall(b"x")
                connection.settimeout(0.05)
                closed = connection.recv(65_536) == b""
            except TimeoutError:
                continue
            except OSError:
                closed = True
            break
        assert closed


def test_a_body_that_comes_late_harms_no_later_request(impatient: Server) -> None:
    with connect(impatient) as connection:
        connection.sendall(
            b"POST /nothing HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\n\r\n"
        )
        assert connection.recv(65_536).startswith(b"HTTP/1.1 404")
        connection.sendall(b"x")
        time.sleep(0.4)
        connection.sendall(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n")
        assert connection.recv(65_536).startswith(b"HTTP/1.1 200")


def test_a_head_that_is_too_long_is_refused(impatient: Server) -> None:
    with connect(impatient) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\n")
        for _ in range(100):
            try:
                connection.sendall(b"a: " + b"b" * 1000 + b"\r\n")
            except OSError:
                break
            time.sleep(0.002)
        received = read_all(connection)
    assert received.startswith(b"HTTP/1.1 431")
    assert b'"code":"head_too_large"' in received


def test_a_kept_connection_has_the_same_deadline_for_each_head(impatient: Server) -> None:
    with connect(impatient) as connection:
        for _ in range(2):
            connection.sendall(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n")
            assert connection.recv(65_536).startswith(b"HTTP/1.1 200")
            time.sleep(0.4)  # idle for longer than a head may take, which is not a fault
        connection.sendall(b"GET /health HT")
        assert read_all(connection).startswith(b"HTTP/1.1 408")


def test_a_reader_that_stops_is_given_up(
    impatient: Server, engine: EngineLoop, wait_until: Callable[[Callable[[], bool]], None]
) -> None:
    asked = {
        "model": "tiny",
        "prompt": ["def"] * 16,
        "max_tokens": 1500,
        "ignore_eos": True,
        "stream": True,
        "logprobs": 20,
    }
    body = json.dumps(asked).encode()
    said: list[OutputDelta] = []
    # Begins before the others, so it would end before them if they were not given up.
    params = SamplingParams(max_tokens=1500, ignore_eos=True)
    witness = engine.submit([1], params, said.append)
    wait_until(lambda: bool(said))
    with connect(impatient) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(
            b"POST /v1/completions HTTP/1.1\r\nhost: localhost\r\n"
            b"content-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
        )
        wait_until(lambda: engine.stats().running == 17)
        wait_until(lambda: engine.stats().running < 17)  # although the connection is open
        assert said[-1].finish_reason is None
    engine.cancel(witness)
    wait_until(lambda: engine.stats().running == 0)


def test_many_half_open_connections_leave_room_for_others(impatient: Server) -> None:
    silent = [connect(impatient) for _ in range(100)]
    try:
        assert httpx.get(f"{impatient.url}/health", timeout=300).status_code == 200
    finally:
        for connection in silent:
            connection.close()


@pytest.mark.parametrize(
    "head",
    [
        b"\x00\x01\x02\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nhost: a\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /v1/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: -1\r\n\r\n",
        b"POST /v1/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\n"
        b"transfer-encoding: chunked\r\n\r\n",
    ],
)
def test_what_is_no_http_is_refused(impatient: Server, head: bytes) -> None:
    with connect(impatient) as connection:
        connection.sendall(head)
        received = read_all(connection)
    assert received.startswith(b"HTTP/1.1 4")
