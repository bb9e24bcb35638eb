from __future__ import annotations

import json

from ingot.server import Server
from tests.server.sockets import connect, post, read_all

ASKED = {"model": "tiny", "prompt": "def", "max_tokens": 20, "ignore_eos": True}


def ask(server: Server, request: bytes) -> tuple[bytes, bytes]:
    """Return head and body of the answer, which ends with the connection."""
    with connect(server) as connection:
        connection.sendall(request)
        head, _, body = read_all(connection).partition(b"\r\n\r\n")
    return head.lower(), body


def test_no_host_is_needed(server: Server) -> None:
    """FAULTS C11: HTTP/1.0 without Host is answered."""
    head, body = ask(server, b"GET /health HTTP/1.0\r\n\r\n")
    assert head.startswith(b"http/1.1 200")
    assert json.loads(body)["status"] == "ok"


def test_a_name_that_is_not_the_servers_is_refused_all_the_same(server: Server) -> None:
    head, _ = ask(server, b"GET /health HTTP/1.0\r\nhost: evil.example\r\n\r\n")
    assert head.startswith(b"http/1.1 421")


def test_answers_are_not_chunked(server: Server) -> None:
    """FAULTS C11: HTTP/1.0 knows no chunks."""
    for stream in (False, True):
        head, body = ask(
            server, post("/v1/completions", ASKED | {"stream": stream}, version=b"1.0")
        )
        assert head.startswith(b"http/1.1 200")
        assert b"chunked" not in head
        assert b"connection: close" in head
        if stream:
            events = [line for line in body.split(b"\n\n") if line]
            assert all(event.startswith(b"data: ") for event in events)
            assert events[-1] == b"data: [DONE]"
        else:
            assert json.loads(body)["choices"][0]["finish_reason"] == "length"
