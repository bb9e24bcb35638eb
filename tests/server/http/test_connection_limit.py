from __future__ import annotations

from collections.abc import Callable

import httpx

from ingot.artifact import Ingot
from ingot.inference import EngineLoop
from ingot.server import Server, ServerConfig
from ingot.server.http.connection_limit import ConnectionLimit
from tests.server.sockets import HOST, connect, post, read_all, read_until


class Open:
    """A connection that notes whether it was closed."""

    closed = False

    @property
    def transport(self) -> Open:
        return self

    def close(self) -> None:
        self.closed = True


def test_the_one_that_waited_longest_makes_room() -> None:
    limit, (first, second, third) = ConnectionLimit(2), (Open() for _ in range(3))
    assert limit.admit(first)
    assert limit.admit(second)
    limit.busy(first)
    limit.waiting(first)  # waits again, so for less time than the second
    assert limit.admit(third)
    assert (first.closed, second.closed) == (False, True)
    assert len(limit) == 2


def test_one_that_is_being_answered_is_not_closed() -> None:
    limit, (first, second) = ConnectionLimit(1), (Open() for _ in range(2))
    limit.admit(first)
    limit.busy(first)
    assert not limit.admit(second)
    limit.remove(first)
    assert limit.admit(second)
    assert not first.closed


def test_silent_connections_do_not_shut_others_out(ingot: Ingot, engine: EngineLoop) -> None:
    """FAULTS A1: connections before a key are bounded too."""
    with Server(ingot, engine, ServerConfig(port=0, max_connections=5)) as server:
        silent = [connect(server) for _ in range(20)]
        with httpx.Client(base_url=server.url, timeout=300) as http:
            assert all(http.get("/health").status_code == 200 for _ in range(5))
        assert read_all(silent[0]) == b""
        for connection in silent:
            connection.close()


def test_at_the_limit_a_new_connection_is_told(
    ingot: Ingot, engine: EngineLoop, wait_until: Callable[[Callable[[], bool]], None]
) -> None:
    asked = {"model": "tiny", "prompt": "def", "max_tokens": 1900, "ignore_eos": True}
    with Server(ingot, engine, ServerConfig(port=0, max_connections=1)) as server:
        with connect(server) as running:
            running.sendall(post("/v1/completions", asked | {"stream": True}))
            read_until(running, b"data: ")
            with connect(server) as refused:
                refused.sendall(b"GET /health HTTP/1.1\r\n" + HOST + b"\r\n")
                assert read_all(refused).startswith(b"HTTP/1.1 503")
        wait_until(lambda: engine.stats().running == 0)
