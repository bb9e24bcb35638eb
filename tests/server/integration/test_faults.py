"""What goes wrong around a server: its engine, its process, its clients' data."""

from __future__ import annotations

import hashlib
import json
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from ingot.artifact import Ingot, Provenance, freeze, open_ingot
from ingot.inference import Engine, EngineLoop
from ingot.inference.executors.torch import TorchExecutor
from ingot.server import Server, ServerConfig

PROGRAM = """
import sys, time
from pathlib import Path
from ingot.api.inference import load, serve
from ingot.cli import _fail
from ingot.errors import IngotError
from ingot.server import ServerConfig

class Failing(Exception):
    pass

with load(Path(sys.argv[1])) as model:
    server = serve(model, ServerConfig(port=int(sys.argv[2])))
    if sys.argv[3] == "fail":
        kind = type(model.loop._engine._executor)
        step = kind.step
        def failing(self, chunks):
            if len(chunks) == 6:  # all that are asked below run together
                raise Failing("the weights melted")
            time.sleep(0.01)  # none has ended when the last comes in
            return step(self, chunks)
        kind.step = failing
    try:
        server.run(on_ready=lambda: print(server.url, flush=True))
    except IngotError as error:
        sys.exit(_fail(str(error), error.exit_code))
"""
ASKED: dict[str, Any] = {"model": "tiny", "prompt": "def", "max_tokens": 1000, "ignore_eos": True}


class Process:
    """A server in a process of its own."""

    def __init__(self, path: Path, port: int = 0, kind: str = "good") -> None:
        command = [sys.executable, "-c", PROGRAM, str(path), str(port), kind]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True)
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()
        assert self.url.startswith("http"), self.process.communicate(timeout=300)

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate(timeout=300)


def test_a_failing_engine_tells_everyone_at_once_and_ends_the_process(ingot_path: Path) -> None:
    with Process(ingot_path, kind="fail") as server:
        answers: queue.Queue[Any] = queue.Queue()

        def ask(stream: bool) -> None:
            response = httpx.post(
                f"{server.url}/v1/completions", json=ASKED | {"stream": stream}, timeout=20
            )
            answers.put((stream, response.status_code, response.text))

        threads = [threading.Thread(target=ask, args=(bool(n % 2),)) for n in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(300)
        _, errors = server.process.communicate(timeout=300)
        assert server.process.returncode == 7
    assert answers.qsize() == 6  # nobody hangs
    for stream, status, text in answers.queue:
        assert status == (200 if stream else 500)
        assert "the weights melted" in text
    assert "engine: failed (Failing: the weights melted); restart the server" in errors


def test_a_killed_server_starts_again_on_its_port(ingot_path: Path) -> None:
    with Process(ingot_path) as first:
        port = int(first.url.rpartition(":")[2])
        with httpx.stream(
            "POST", f"{first.url}/v1/completions", json=ASKED | {"stream": True}
        ) as stream:
            lines = stream.iter_lines()
            next(lines)
            first.process.send_signal(signal.SIGKILL)
            with pytest.raises(httpx.TransportError):
                list(lines)
        first.process.wait(300)
        with Process(ingot_path, port) as second:
            assert second.url == first.url
            short = ASKED | {"max_tokens": 2}
            assert httpx.post(f"{second.url}/v1/completions", json=short).status_code == 200


def test_a_body_of_100_megabytes_is_refused_before_it_is_sent(server: Server) -> None:
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=300) as connection:
        connection.sendall(
            b"POST /v1/completions HTTP/1.1\r\nhost: localhost\r\n"
            b"content-type: application/json\r\ncontent-length: 100000000\r\n\r\n{"
        )
        assert connection.recv(65_536).startswith(b"HTTP/1.1 413")


def test_a_body_of_100_megabytes_without_its_length_is_cut_off(server: Server) -> None:
    host, port = server.url.removeprefix("http://").split(":")
    piece = b"10000\r\n" + b" " * 65_536 + b"\r\n"
    sent = 0
    with socket.create_connection((host, int(port)), timeout=300) as connection:
        connection.sendall(
            b"POST /v1/completions HTTP/1.1\r\nhost: localhost\r\n"
            b"content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        try:
            while sent < 100_000_000:
                connection.sendall(piece)
                sent += len(piece)
        except OSError:
            pass
    assert sent < 20_000_000


TEMPLATES = {
    "endless": "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}x",
    "code": "{{ messages.__class__.__mro__[1].__subclasses__() }}",
    "huge": "{{ 'a' * 10000000000 }}",
    "long": "{{ '☃' * 16000000 }}",  # FAULTS A7
    "syntax": "{% for %}",
    "missing": "{{ messages[0].nothing.at_all }}",
    "refusing": "{{ raise_exception('no system message') }}",
}


def with_template(ingot: Ingot, template: str, folder: Path) -> Path:
    """Freeze the model again with this chat template, its digests right."""
    weights = {
        name: np.zeros(shape, np.float32) for name, shape in ingot.config.tensor_shapes().items()
    }
    out = folder / "tiny.ingot"
    freeze(weights, ingot.config, ingot.tokenizer, out, provenance=Provenance()).close()
    config = json.loads((out / "tokenizer_config.json").read_text()) | {"chat_template": template}
    data = json.dumps(config).encode()
    (out / "tokenizer_config.json").write_bytes(data)
    with open_ingot_as_is(out, data) as sealed:
        assert sealed.digest
    return out


def open_ingot_as_is(path: Path, data: bytes) -> Ingot:
    """Write the manifest that goes with a changed ``tokenizer_config.json``; open the ingot."""
    manifest = json.loads((path / "ingot.json").read_text())
    manifest["files"]["tokenizer_config.json"] = {
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    rest = {name: value for name, value in manifest.items() if name != "digest"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"))
    manifest["digest"] = hashlib.sha256(text.encode()).hexdigest()
    (path / "ingot.json").write_text(json.dumps(manifest, sort_keys=True, indent=1) + "\n")
    return open_ingot(path)


@pytest.fixture(params=TEMPLATES)
def poisoned(
    request: pytest.FixtureRequest, ingot: Ingot, tmp_path: Path
) -> Iterator[httpx.Client]:
    path = with_template(ingot, TEMPLATES[request.param], tmp_path)
    with open_ingot(path) as bad:
        engine = EngineLoop(Engine(TorchExecutor(bad), bad.tokenizer))
        with (
            Server(bad, engine, ServerConfig(port=0)) as server,
            httpx.Client(base_url=server.url, timeout=300) as http,
        ):
            yield http
        engine.close(5)


def test_a_poisoned_template_harms_its_own_request_alone(poisoned: httpx.Client) -> None:
    asked = {"model": "tiny", "messages": [{"role": "user", "content": "a"}], "max_tokens": 2}
    refused = poisoned.post("/v1/chat/completions", json=asked)
    assert refused.status_code == 400
    assert refused.json()["error"]["code"] == "template_failed"
    assert poisoned.post("/v1/completions", json=ASKED | {"max_tokens": 2}).status_code == 200
