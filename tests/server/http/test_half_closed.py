from __future__ import annotations

import socket
from collections.abc import Callable

import pytest

from ingot.inference import EngineLoop
from ingot.server import Server
from tests.server.sockets import HOST, connect, post, read_all

ASKED = {"model": "tiny", "prompt": "def", "max_tokens": 100, "ignore_eos": True}
Wait = Callable[[Callable[[], bool]], None]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
def test_a_client_that_ends_its_side_gets_its_answer(
    server: Server, version: bytes, stream: bool
) -> None:
    """FAULTS C10: half-closed connections get their answer on POST routes."""
    with connect(server) as connection:
        connection.sendall(post("/v1/completions", ASKED | {"stream": stream}, version=version))
        connection.shutdown(socket.SHUT_WR)
        received = read_all(connection).replace(b"HTTP/1.1 100 Continue\r\n\r\n", b"")
    assert received.startswith(b"HTTP/1.1 200")
    assert (b"data: [DONE]" if stream else b'"finish_reason":"length"') in received


def test_a_get_and_what_was_pipelined_is_answered_too(server: Server) -> None:
    get = b"GET /health HTTP/1.1\r\n" + HOST + b"\r\n"
    with connect(server) as connection:
        connection.sendall(get * 3)
        connection.shutdown(socket.SHUT_WR)
        assert read_all(connection).count(b"HTTP/1.1 200") == 3


def test_an_unfinished_request_gets_none(server: Server) -> None:
    whole = post("/v1/completions", ASKED)
    for part in (whole[:20], whole[:-1]):
        with connect(server) as connection:
            connection.sendall(part)
            connection.shutdown(socket.SHUT_WR)
            assert b"HTTP/1.1 200" not in read_all(connection)


def test_one_that_ended_its_side_and_then_left_is_noticed(
    server: Server, engine: EngineLoop, wait_until: Wait
) -> None:
    asked = ASKED | {"prompt": ["def"] * 16, "max_tokens": 1900}
    with connect(server) as connection:
        connection.sendall(post("/v1/completions", asked))
        wait_until(lambda: engine.stats().running > 0)
        connection.shutdown(socket.SHUT_WR)
    done = engine.stats().generated_tokens
    wait_until(lambda: engine.stats().running == 0)
    assert engine.stats().generated_tokens - done < 16 * 1900 / 2
