"""Bounds on every byte that arrives before a key is known, over bare sockets."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from ingot.artifact import Ingot
from ingot.inference import EngineLoop
from ingot.server import Server, ServerConfig
from tests.server.sockets import HOST, connect, post, read_all, read_until, send_endlessly

LIMIT = 4096
BODY = 50_000
MOST = 64_000_000  # far more than kernel buffers between the two sides
CHUNKED = b"content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"


@pytest.fixture(scope="module")
def narrow(ingot: Ingot, engine: EngineLoop) -> Iterator[Server]:
    """A server with narrow limits of bytes and long ones of time."""
    config = ServerConfig(port=0, max_head_bytes=LIMIT, max_body_bytes=BODY, drain_timeout_s=1)
    with Server(ingot, engine, config) as server:
        yield server


@pytest.mark.parametrize(
    ("begun", "piece"),
    [
        (b"GET /", b"a" * 1000),
        (b"GET / HTTP/1.1\r\n", b"a: b\r\n" * 1000),
        (b"GET / HTTP/1.1\r\na: ", b"b" * 1000),
        (b"GET / HTTP/1.1\r\n", b"a" * 1000),
        (b"", b"\r\n" * 1000),
        (b"POST /v1/completions HTTP/1.1\r\n" + HOST + CHUNKED + b"0\r\n", b"A:b\r\n" * 1000),
        (b"POST /v1/completions HTTP/1.1\r\n" + HOST + CHUNKED + b"0\r\nA:", b"b" * 1000),
        (b"POST /v1/completions HTTP/1.1\r\n" + HOST + CHUNKED + b"1;", b"x" * 1000),
        (b"POST /v1/completions HTTP/1.1\r\n" + HOST + CHUNKED, b"1;x=yyyyyyyy\r\n \r\n" * 50),
        (b"POST /v1/completions HTTP/1.1\r\n" + HOST + CHUNKED + b"0", b"0" * 1000),
        (b"GET / HTTP/1.1\r\n" + HOST + b"connection: upgrade\r\nupgrade: x\r\n\r\n", b"Z" * 999),
        (b"CONNECT a:1 HTTP/1.1\r\n" + HOST + b"\r\n", b"z" * 1000),
        (b"POST /nothing HTTP/1.1\r\n" + HOST + b"content-length: 99999999\r\n\r\n", b"b" * 1000),
        (b"POST /nothing HTTP/1.1\r\n" + HOST + CHUNKED, b"3e8\r\n" + b"b" * 1000 + b"\r\n"),
    ],
    ids=[
        *("request-line", "fields", "value", "name", "blank-lines", "trailers", "trailer-value"),
        *("extension", "extensions", "chunk-size", "upgrade", "connect", "unread", "unread-chunks"),
    ],
)
def test_what_never_ends_is_cut_off(narrow: Server, begun: bytes, piece: bytes) -> None:
    """FAULTS A1: chunked trailers and all else that is read before a key has a limit of bytes."""
    with connect(narrow) as connection:
        connection.sendall(begun)
        assert send_endlessly(connection, piece, MOST) < MOST


@pytest.mark.parametrize("trailer", [b"A:b\r\n" * 1500, b"A: " + b"b" * 6000])
def test_trailers_count_as_head_bytes(narrow: Server, trailer: bytes) -> None:
    """FAULTS A1: bytes after the last chunk count as head bytes."""
    begun = b"POST /v1/completions HTTP/1.1\r\n" + HOST + CHUNKED + b"1\r\n{\r\n0\r\n"
    with connect(narrow) as connection:
        connection.sendall(begun)
        for start in range(0, len(trailer), 100):
            try:
                connection.sendall(trailer[start : start + 100])
            except OSError:
                break
        received = read_all(connection)
    assert received.startswith(b"HTTP/1.1 431")
    assert b'"code":"head_too_large"' in received
    assert received.count(b"HTTP/1.1 ") == 1  # the route, which waited for the body, is silent


def test_a_trailer_is_not_a_header(narrow: Server) -> None:
    data = json.dumps({"model": "tiny", "prompt": "def", "max_tokens": 1}).encode()
    with connect(narrow) as connection:
        connection.sendall(
            b"POST /v1/completions HTTP/1.1\r\n"
            + HOST
            + CHUNKED
            + b"%x\r\n%b\r\n0\r\nx-request-id: mine\r\nhost: evil.example\r\n\r\n"
            % (len(data), data)
        )
        head = read_until(connection, b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert b"mine" not in head


def test_small_chunks_are_no_fault(narrow: Server) -> None:
    data = json.dumps({"model": "tiny", "prompt": "def " * 1500, "max_tokens": 1}).encode()
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in data)
    assert len(chunks) > 6 * LIMIT
    with connect(narrow) as connection:
        connection.sendall(b"POST /v1/completions HTTP/1.1\r\n" + HOST + CHUNKED + chunks)
        connection.sendall(b"0\r\n\r\n")
        assert read_until(connection, b"\r\n\r\n").startswith(b"HTTP/1.1 400")  # by the route


def test_a_head_in_one_write_has_the_same_limit(narrow: Server) -> None:
    with connect(narrow) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\n" + HOST + b"a: " + b"b" * LIMIT + b"\r\n\r\n")
        assert read_all(connection).startswith(b"HTTP/1.1 431")


def test_the_number_of_headers_is_bounded(narrow: Server) -> None:
    with connect(narrow) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\n" + HOST + b"a:b\r\n" * 300 + b"\r\n")
        assert read_all(connection).startswith(b"HTTP/1.1 431")


def test_pipelined_requests_are_bounded_and_those_taken_are_answered(narrow: Server) -> None:
    with connect(narrow) as connection:
        connection.sendall((b"GET /health HTTP/1.1\r\n" + HOST + b"\r\n") * 1000)
        received = read_all(connection)
    answers = received.count(b"HTTP/1.1 200")
    assert 64 <= answers <= 66
    assert received.count(b"connection: close") == 1


def test_an_upgrade_is_declined_by_an_answer(narrow: Server) -> None:
    """As Java's HTTP client asks for HTTP/2 with its first request."""
    asked = {"model": "tiny", "prompt": "def", "max_tokens": 1}
    wanted = (b"connection: Upgrade, HTTP2-Settings", b"upgrade: h2c", b"http2-settings: AAAA")
    with connect(narrow) as connection:
        for _ in range(2):
            for byte in post("/v1/completions", asked, *wanted):
                connection.send(bytes([byte]))
            received = read_until(connection, b"}}")
            assert received.startswith(b"HTTP/1.1 200")
            assert b'"object":"text_completion"' in received
        get = b"GET /health HTTP/1.1\r\n" + HOST
        offer = b"connection: close, upgrade\r\nupgrade: websocket\r\n\r\n"
        connection.sendall(get + b"\r\n" + get + offer)
        assert read_all(connection).count(b"HTTP/1.1 200") == 2


def test_what_follows_an_unfinished_answer_does_not_get_into_it(narrow: Server) -> None:
    asked = {"model": "tiny", "prompt": "def", "max_tokens": 1500, "ignore_eos": True}
    with connect(narrow) as connection:
        connection.sendall(post("/v1/completions", asked | {"stream": True}))
        received = read_until(connection, b"data: ")
        connection.sendall(b"\x00nothing like HTTP\r\n\r\n")
        received += read_all(connection)
    assert received.count(b"HTTP/1.1 ") == 1
