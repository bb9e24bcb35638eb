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
