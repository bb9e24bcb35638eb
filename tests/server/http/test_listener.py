from __future__ import annotations

import asyncio
import contextlib
import socket

import pytest
import uvloop

from ingot.errors import ServeError
from ingot.server import ServerConfig, listen
from ingot.server.http.listener import at_once, url_of


def test_port_0_picks_a_free_port() -> None:
    with listen(ServerConfig(port=0)) as first, listen(ServerConfig(port=0)) as second:
        assert first.getsockname()[1] != second.getsockname()[1]
        assert url_of(first, ServerConfig()) == f"http://127.0.0.1:{first.getsockname()[1]}"


def test_a_port_in_use_is_named_with_a_way_out() -> None:
    with listen(ServerConfig(port=0)) as first:
        port = first.getsockname()[1]
        with pytest.raises(ServeError, match=f"port {port} is in use; .*port 0") as caught:
            listen(ServerConfig(port=port))
    assert caught.value.exit_code == 7


def test_a_port_is_free_again_after_a_connection_was_open() -> None:
    listener = listen(ServerConfig(port=0))
    port = listener.getsockname()[1]
    with socket.create_connection(("127.0.0.1", port)) as connection:
        accepted, _ = listener.accept()
        accepted.close()  # the side that closes first is left in TIME_WAIT
        listener.close()
        assert connection.recv(1) == b""
    listen(ServerConfig(port=port)).close()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_a_public_address_is_refused(host: str) -> None:
    with pytest.raises(ServeError, match="no API key is required"):
        listen(ServerConfig(host=host, port=0))


def test_a_public_address_can_be_allowed() -> None:
    with listen(ServerConfig(host="0.0.0.0", port=0, allow_public=True)) as listener:
        assert url_of(listener, ServerConfig()).startswith("http://127.0.0.1:")


def test_loopback_has_many_names() -> None:
    with listen(ServerConfig(host="localhost", port=0)) as listener:
        assert listener.getsockname()[0] in {"127.0.0.1", "::1"}


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a" * 300, "192.0.2.1"])
def test_an_address_that_this_machine_does_not_have(host: str) -> None:
    with pytest.raises(ServeError, match=r"use 127\.0\.0\.1"):
        listen(ServerConfig(host=host, port=0, allow_public=True))


def test_several_connections_are_taken_in_one_round_of_the_event_loop() -> None:
    waiting = 64
    taken = 0

    class Taken(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            nonlocal taken
            taken += 1
            transport.close()

    async def rounds() -> int:
        loop = asyncio.get_running_loop()
        servers = [await loop.create_server(Taken, sock=handle) for handle in at_once(listener)]
        count = 0
        while taken < waiting:
            await asyncio.sleep(0)
            count += 1
        for server in servers:
            server.close()
        return count

    with listen(ServerConfig(port=0)) as listener, contextlib.ExitStack() as clients:
        endpoint = listener.getsockname()
        for _ in range(waiting):
            clients.enter_context(socket.create_connection(endpoint))
        assert uvloop.run(asyncio.wait_for(rounds(), 300)) < waiting / 2
    with pytest.raises(ConnectionRefusedError):  # no handle is left open
        socket.create_connection(endpoint)
