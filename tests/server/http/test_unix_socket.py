from __future__ import annotations

import socket
import stat
from pathlib import Path

import httpx
import openai
import pytest

from ingot.artifact import Ingot
from ingot.errors import ServeError
from ingot.inference import EngineLoop
from ingot.server import Server, ServerConfig
from ingot.server.http.unix_socket import listen_unix


def test_a_client_is_answered_over_a_unix_socket(
    ingot: Ingot, engine: EngineLoop, tmp_path: Path
) -> None:
    """FAULTS C13: a Unix socket."""
    path = tmp_path / "ingot.sock"
    with Server(ingot, engine, ServerConfig(uds=path)) as server:
        assert server.url == f"unix:{path}"
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        transport = httpx.HTTPTransport(uds=str(path))
        with (
            httpx.Client(transport=transport, timeout=300) as http,
            openai.OpenAI(
                base_url="http://localhost/v1", api_key="any", http_client=http, max_retries=0
            ) as client,
        ):
            answer = client.completions.create(
                model="tiny", prompt="def", max_tokens=2, temperature=0
            )
            assert answer.usage is not None
            assert answer.usage.completion_tokens == 2
            stream = client.completions.create(
                model="tiny", prompt="def", max_tokens=5, stream=True
            )
            assert len(list(stream)) >= 1
        with pytest.raises(ServeError, match="is in use"):
            listen_unix(path, 1)
    assert not path.exists()


def test_a_client_that_ends_its_side_gets_its_answer(
    ingot: Ingot, engine: EngineLoop, tmp_path: Path
) -> None:
    path = tmp_path / "ingot.sock"
    with Server(ingot, engine, ServerConfig(uds=path)), socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(300)
        connection.connect(str(path))
        connection.sendall(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n")
        connection.shutdown(socket.SHUT_WR)
        received = b"".join(iter(lambda: connection.recv(65_536), b""))
    assert b"HTTP/1.1 200" in received


def test_a_socket_left_behind_is_replaced_and_a_file_is_not(tmp_path: Path) -> None:
    path = tmp_path / "ingot.sock"
    listen_unix(path, 1).close()
    assert path.exists()
    listen_unix(path, 1).close()
    file = tmp_path / "file"
    file.write_text("mine")
    with pytest.raises(ServeError, match="is in use"):
        listen_unix(file, 1)
    assert file.read_text() == "mine"
    with pytest.raises(ServeError, match="cannot be listened on"):
        listen_unix(tmp_path / "none" / "ingot.sock", 1)
    with pytest.raises(ServeError, match="cannot be listened on"):
        listen_unix(tmp_path / ("a" * 200), 1)
