"""Servers of other projects, each a process in an environment of its own."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from benchmarks.peers.environments import ENVIRONMENTS, EnvironmentName
from benchmarks.serving import Served

_START_S = 600.0  # vLLM compiles its model first
_STOP_S = 60.0
_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class PeerServer:
    """A server and how it is started."""

    name: str
    environment: EnvironmentName
    model: str
    """Path of its model in the folder that ``export`` filled."""
    words: str
    """Its command, in which ``{bin}``, ``{model}``, ``{port}`` and ``{threads}`` are filled in."""
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def installed(self) -> bool:
        """Whether its environment is installed."""
        return ENVIRONMENTS[self.environment].installed

    def command(self, models: Path, port: int, threads: int) -> list[str]:
        """Return the command that serves on a port of this machine."""
        found = {
            "bin": ENVIRONMENTS[self.environment].folder / "bin",
            "model": models / self.model,
            "port": port,
            "threads": threads,
        }
        return [each.format(**found) for each in self.words.split()]


SERVERS = (
    PeerServer(
        "llama-server Q8_0",
        "llama",
        "gguf/Q8_0.gguf",
        # 64 slots of 320 tokens, as many sequences as ours runs at once; a thread a connection.
        "{bin}/llama-server -m {model} --port {port} -t {threads} -c 20480 -np 64"
        " --threads-http 300 --log-disable --no-webui",
    ),
    PeerServer(
        "vllm serve bf16",
        "vllm",
        "bf16",
        "{bin}/python -m vllm.entrypoints.openai.api_server --model {model} --port {port}"
        " --served-model-name model --dtype bfloat16 --max-model-len 1024 --disable-log-stats",
        {"VLLM_CPU_KVCACHE_SPACE": "2", "VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1"},
    ),
)


@contextlib.contextmanager
def serving_peer(peer: PeerServer, models: Path, threads: int, log: Path) -> Iterator[Served]:
    """Run a peer's server inside the block; its output goes to ``log``.

    Raises:
        RuntimeError: It does not answer; the text is the end of its output.
    """
    port = _free_port()
    command = peer.command(models, port, threads)
    with log.open("wb") as said:
        process = subprocess.Popen(  # noqa: S603 (a command of our own)
            command,
            stdout=said,
            stderr=said,
            text=True,
            cwd=_ROOT,
            env={**os.environ, **peer.variables},
        )
        try:
            url = f"http://127.0.0.1:{port}"
            _wait_until_ready(process, url, log)
            yield Served(url, "model", process)
        finally:
            process.terminate()
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_until_ready(process: subprocess.Popen[str], url: str, log: Path) -> None:
    end = time.monotonic() + _START_S
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"{url}/health", timeout=5).status_code == 200:
                return
        time.sleep(0.5)
    raise RuntimeError(log.read_text(encoding="utf-8", errors="replace")[-800:])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
