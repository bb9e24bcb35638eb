"""Addresses at which there is no cluster, or another one."""

from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import pytest
import ray

from ingot.cluster import connection
from ingot.cluster.connection import connected
from ingot.errors import UsageError


class RayCluster(Protocol):
    address: str


@pytest.fixture
def silent() -> Iterator[str]:
    """A port that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        held: list[socket.socket] = []

        def accept() -> None:
            while True:
                try:
                    held.append(server.accept()[0])
                except OSError:
                    return

        threading.Thread(target=accept, daemon=True).start()
        yield f"ray://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
        for each in held:
            each.close()


@pytest.mark.parametrize(
    "address", ["", "head:10001", "ray://", "ray://head", "ray://:10001", "ray://head:x", "auto"]
)
def test_what_is_not_an_address_is_refused(address: str) -> None:
    with pytest.raises(UsageError, match="must be ray://HOST:PORT or local"), connected(address):
        pass


@pytest.mark.parametrize("port", [1, 99_999])
def test_nothing_at_the_address(port: int) -> None:
    with (
        pytest.raises(UsageError, match=f"ray://127.0.0.1:{port}: no Ray cluster answers there"),
        connected(f"ray://127.0.0.1:{port}"),
    ):
        pass


def test_what_never_answers_is_left_at_the_deadline(
    silent: str, run_python: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    """In a process of its own: Ray still tries in a thread, which must not keep it from ending."""
    script = (
        "import sys\n"
        "from ingot.cluster import connection\n"
        "connection._GREET_S = 3.0\n"
        "with connection.connected(sys.argv[1]): pass\n"
    )
    done = run_python(script, silent)
    assert done.returncode == 1
    assert "no Ray cluster answers there (no answer of Ray's within 3 s)" in done.stderr


@pytest.mark.parametrize(
    ("module", "name", "value", "message"),
    [
        (ray, "__version__", "2.1.0", "runs another version .*2.1.0.*install the same versions"),
        (connection, "version", lambda _: "9.9", "runs Ingot .*, and this machine 9.9; install"),
    ],
)
def test_another_version_is_refused(
    ray_cluster: RayCluster,
    monkeypatch: pytest.MonkeyPatch,
    module: Any,
    name: str,
    value: object,
    message: str,
) -> None:
    monkeypatch.setattr(module, name, value)
    with pytest.raises(UsageError, match=message) as raised, connected(ray_cluster.address):
        pass
    assert "\n" not in str(raised.value)


def test_a_connection_is_closed_again(ray_cluster: RayCluster) -> None:
    with connected(ray_cluster.address):
        assert ray.is_initialized()
    assert not ray.is_initialized()
