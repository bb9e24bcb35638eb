from __future__ import annotations

import shutil
import ssl
import subprocess
from pathlib import Path

import httpx
import pytest

from ingot.artifact import Ingot
from ingot.errors import UsageError
from ingot.inference import EngineLoop
from ingot.server import Server, ServerConfig
from ingot.server.http.tls import tls_context
from tests.server.sockets import connect, read_all

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="makes a certificate")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate of this machine's own, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    command += ["-keyout", str(key), "-out", str(cert)]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    return cert, key


@needs_openssl
def test_answers_are_encrypted(
    ingot: Ingot, engine: EngineLoop, certificate: tuple[Path, Path]
) -> None:
    """FAULTS C13: TLS."""
    config = ServerConfig(port=0, tls_cert=certificate[0], tls_key=certificate[1])
    with Server(ingot, engine, config) as server:
        assert server.url.startswith("https://127.0.0.1:")
        trusted = ssl.create_default_context(cafile=str(certificate[0]))
        with httpx.Client(base_url=server.url, verify=trusted, timeout=300) as http:
            asked = {"model": "tiny", "prompt": "def", "max_tokens": 20, "stream": True}
            answer = http.post("/v1/completions", json=asked)
            assert answer.status_code == 200
            assert answer.text.rstrip().endswith("data: [DONE]")
        with pytest.raises(httpx.HTTPError):
            httpx.get(server.url.replace("https", "http"), timeout=300)


@needs_openssl
def test_handshakes_that_do_not_end_do_not_shut_others_out(
    ingot: Ingot, engine: EngineLoop, certificate: tuple[Path, Path]
) -> None:
    """FAULTS A1: what is open before a key is known is bounded, handshakes too."""
    config = ServerConfig(
        port=0, tls_cert=certificate[0], tls_key=certificate[1], max_connections=5
    )
    trusted = ssl.create_default_context(cafile=str(certificate[0]))
    with Server(ingot, engine, config) as server:
        silent = [connect(server) for _ in range(20)]
        with httpx.Client(base_url=server.url, verify=trusted, timeout=300) as http:
            assert all(http.get("/health").status_code == 200 for _ in range(5))
        assert read_all(silent[0]) == b""
    # Those that were still open do not hold up the server's end.
    for connection in silent:
        connection.close()


@needs_openssl
def test_a_handshake_has_the_time_of_a_head(
    ingot: Ingot, engine: EngineLoop, certificate: tuple[Path, Path]
) -> None:
    config = ServerConfig(
        port=0, tls_cert=certificate[0], tls_key=certificate[1], header_timeout_s=0.3
    )
    with Server(ingot, engine, config) as server:
        with connect(server) as slow:
            slow.sendall(b"\x16\x03")
            assert read_all(slow) == b""
        with connect(server) as plain:
            plain.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert not read_all(plain).startswith(b"HTTP")


@needs_openssl
def test_files_that_do_not_serve_are_named(certificate: tuple[Path, Path], tmp_path: Path) -> None:
    cert, key = certificate
    wrong = tmp_path / "wrong.pem"
    wrong.write_text("nothing")
    for bad in (
        ServerConfig(tls_cert=cert),
        ServerConfig(tls_cert=wrong, tls_key=key),
        ServerConfig(tls_cert=cert, tls_key=wrong),
        ServerConfig(tls_cert=tmp_path / "none", tls_key=key),
    ):
        with pytest.raises(UsageError, match="cannot be used for TLS"):
            tls_context(bad)
    with pytest.raises(UsageError, match="add --tls-cert"):
        tls_context(ServerConfig(tls_key=key))


def test_without_a_certificate_there_is_no_tls() -> None:
    assert tls_context(ServerConfig()) is None
