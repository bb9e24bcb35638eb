"""Starting and stopping: in a thread, and as a process that gets signals."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from ingot.artifact import Ingot
from ingot.errors import ServeError
from ingot.inference import EngineLoop
from ingot.server import Server, ServerConfig, listen

PROGRAM = """
import sys
from pathlib import Path
from ingot.artifact import open_ingot
from ingot.inference import Engine, EngineLoop
from ingot.inference.executors.torch import TorchExecutor
from ingot.server import Server, ServerConfig
with open_ingot(Path(sys.argv[1])) as ingot:
    engine = EngineLoop(Engine(TorchExecutor(ingot), ingot.tokenizer))
    server = Server(ingot, engine, ServerConfig(port=0, drain_timeout_s=float(sys.argv[2])))
    server.run(on_ready=lambda: print(server.url, flush=True))
    engine.close(5)
print("closed", flush=True)
"""
LONG = {"model": "tiny", "prompt": "def", "max_tokens": 2000, "ignore_eos": True, "stream": True}


@contextlib.contextmanager
def serving(path: Path, drain_s: float) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run a server in a process of its own; yield it and its address."""
    command = [sys.executable, "-c", PROGRAM, str(path), str(drain_s)]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True)
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url.startswith("http"), process.communicate(timeout=300)
        yield process, url
    finally:
        process.kill()
        process.communicate(timeout=300)


def ending(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Return the exit code and what was printed, once the process has ended."""
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


def test_ctrl_c_lets_running_requests_finish(ingot_path: Path) -> None:
    with serving(ingot_path, 60) as (process, url):
        request = LONG | {"max_tokens": 200}
        with httpx.stream("POST", f"{url}/v1/completions", json=request, timeout=300) as response:
            lines = response.iter_lines()
            first = next(lines)
            process.send_signal(signal.SIGINT)
            rest = list(lines)
        assert first.startswith("data: {")
        assert rest[-2:] == ["data: [DONE]", ""]
        assert ending(process) == (0, "closed\n", "")


def test_sigterm_tells_requests_that_outlive_the_drain(ingot_path: Path) -> None:
    with serving(ingot_path, 1) as (process, url):
        request = LONG | {"prompt": ["def"] * 64, "n": 2}
        with httpx.stream("POST", f"{url}/v1/completions", json=request, timeout=300) as response:
            lines = response.iter_lines()
            next(lines)
            process.send_signal(signal.SIGTERM)
            rest = [line for line in lines if line]
        assert '"code":"stopping"' in rest[-1]
        code, out, err = ending(process)
        assert (code, out) == (0, "closed\n")
        assert "Traceback" not in err


def test_a_second_signal_does_not_wait_for_the_drain(ingot_path: Path) -> None:
    with serving(ingot_path, 600) as (process, url):
        request = LONG | {"prompt": ["def"] * 64, "n": 2}
        with httpx.stream("POST", f"{url}/v1/completions", json=request, timeout=300) as response:
            lines = response.iter_lines()
            next(lines)
            process.send_signal(signal.SIGINT)
            wait_until_refused(url)
            process.send_signal(signal.SIGINT)
            rest = [line for line in lines if line]
        assert '"code":"stopping"' in rest[-1]
        code, out, err = ending(process)
        assert (code, out) == (0, "closed\n")
        assert "Traceback" not in err


def test_an_unfinished_body_does_not_hold_the_shutdown(ingot_path: Path) -> None:
    """FAULTS C12: a body that is not complete ends with the server."""
    with serving(ingot_path, 600) as (process, url):
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=300) as connection:
            connection.sendall(
                b"POST /v1/completions HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\n"
                b"content-type: application/json\r\ncontent-length: 100\r\n\r\n"
            )
            assert connection.recv(1000).startswith(b"HTTP/1.1 100")  # now the body is awaited
            connection.sendall(b"{")
            process.send_signal(signal.SIGTERM)
            received = b"".join(iter(lambda: connection.recv(65_536), b""))
        assert received.startswith(b"HTTP/1.1 503")
        assert b'"code":"stopping"' in received
        assert ending(process) == (0, "closed\n", "")


def wait_until_refused(url: str) -> None:
    """Wait until the server takes no more connections."""
    address = ("127.0.0.1", int(url.rpartition(":")[2]))
    with contextlib.suppress(ConnectionRefusedError):
        for _ in range(1000):
            socket.create_connection(address, timeout=300).close()
            threading.Event().wait(0.01)


def test_a_server_in_a_thread_stops_and_frees_its_port(ingot: Ingot, engine: EngineLoop) -> None:
    with Server(ingot, engine, ServerConfig(port=0)) as server:
        assert httpx.get(f"{server.url}/health").status_code == 200
        port = int(server.url.rpartition(":")[2])
        with pytest.raises(ServeError, match=f"port {port} is in use"):
            Server(ingot, engine, ServerConfig(port=port))
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{server.url}/health")
    listen(ServerConfig(port=port)).close()


def test_the_port_can_be_taken_before_the_model_is_loaded(ingot: Ingot, engine: EngineLoop) -> None:
    listener = listen(ServerConfig(port=0))
    port = listener.getsockname()[1]
    with Server(ingot, engine, listener=listener) as server:
        assert server.url == f"http://127.0.0.1:{port}"
        assert httpx.get(f"{server.url}/health").status_code == 200
