"""Prefix-aware routing over two servers, against round robin, through a public router.

``python -m benchmarks.router [--quick] [--json FILE]``. The router is ``smg`` (the gateway that
grew out of SGLang's), from PyPI:

    python -m venv .peers/smg && .peers/smg/bin/pip install smg

Requests come in groups, each with a long prefix of its own. One server's cache holds six tenths of
the prefixes, so round robin, which sends every prefix to both, evicts what it will need. The model
has random weights: only what is found in the caches matters.
"""

from __future__ import annotations

import contextlib
import itertools
import queue
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

from benchmarks.peers.environments import HOME
from benchmarks.report import Report, Row, arguments, median_and_spread
from benchmarks.serving import Served, make_model, serving

POLICIES = ("round_robin", "cache_aware", "consistent_hashing")
SESSION = "x-session-id"
_CLIENTS = 4
_BLOCK = 16
_HELD = 0.6
"""Share of the prefixes that one server's cache holds."""
_READY_S = 120.0


@dataclass(frozen=True)
class Load:
    """Groups of requests."""

    groups: int
    requests: int
    characters: int
    """Of each group's prefix."""
    repeats: int


FULL = Load(groups=16, requests=240, characters=1800, repeats=3)
QUICK = Load(groups=16, requests=96, characters=1800, repeats=1)


def find_router() -> str | None:
    """Return the router's program; None where it is not installed."""
    own = HOME / "smg" / "bin" / "smg"
    return str(own) if own.exists() else shutil.which("smg")


def prefixes(load: Load) -> list[str]:
    """Return each group's prefix, pieces of this project's source."""
    text = "".join(path.read_text(encoding="utf-8") for path in sorted(Path("src").rglob("*.py")))
    step = len(text) // load.groups
    return [text[index * step :][: load.characters] for index in range(load.groups)]


@contextlib.contextmanager
def routing(program: str, policy: str, servers: list[Served]) -> Iterator[str]:
    """Run the router over servers inside the block; yield its address.

    Raises:
        RuntimeError: it is not ready in time.
    """
    ports = [_free_port() for _ in range(2)]
    command = [program, "launch", "--host", "127.0.0.1", "--port", str(ports[0])]
    command += ["--worker-urls", *(server.url for server in servers), "--policy", policy]
    command += ["--prometheus-host", "127.0.0.1", "--prometheus-port", str(ports[1])]
    command += ["--routing-key-headers", SESSION, "--disable-tokenizer-autoload"]
    url = f"http://127.0.0.1:{ports[0]}"
    process = subprocess.Popen(  # noqa: S603 (the program that was asked for)
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _wait_until_ready(url, process)
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def measure(program: str, policy: str, ingot: Path, load: Load, seed: int) -> tuple[float, float]:
    """Return the share of prompt tokens that both caches had, and the median seconds of a request.

    Servers and router begin with nothing cached.
    """
    texts = prefixes(load)
    order = [index % load.groups for index in range(load.requests)]
    random.Random(seed).shuffle(order)
    with contextlib.ExitStack() as stack:
        settings = _settings(ingot, texts)
        servers = [stack.enter_context(serving(ingot, *settings)) for _ in range(2)]
        url = stack.enter_context(routing(program, policy, servers))
        work: queue.SimpleQueue[tuple[int, int] | None] = queue.SimpleQueue()
        for item in itertools.chain(enumerate(order), [None] * _CLIENTS):
            work.put(item)
        seconds: list[float] = []

        def ask_until_done() -> None:
            with httpx.Client(base_url=url, timeout=300) as http:
                while (item := work.get()) is not None:
                    number, group = item
                    body = servers[0].completion(
                        f"{texts[group]}\n# question {number}\n", 1, stream=False
                    )
                    del body["stream_options"]
                    began = time.perf_counter()
                    headers = {SESSION: f"group-{group}"}
                    http.post("/v1/completions", json=body, headers=headers).raise_for_status()
                    seconds.append(time.perf_counter() - began)

        clients = [threading.Thread(target=ask_until_done) for _ in range(_CLIENTS)]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        if len(seconds) != load.requests:
            raise RuntimeError(f"{load.requests - len(seconds)} requests failed under {policy}")
        found = sum(server.metric("vllm:prefix_cache_hits_total") for server in servers)
        asked = sum(server.metric("vllm:prefix_cache_queries_total") for server in servers)
        return found / asked, median_and_spread(seconds)[0]


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark."""
    asked = arguments("router", str(__doc__).partition("\n")[0]).parse_args(argv)
    program = find_router()
    if program is None:
        sys.stderr.write("smg is not installed: python -m venv .peers/smg && ")
        sys.stderr.write(".peers/smg/bin/pip install smg\n")
        return 2
    load = QUICK if asked.quick else FULL
    report = Report("router", vars(load) | {"router": _version(program)})
    figures: dict[str, list[tuple[float, float]]] = {policy: [] for policy in POLICIES}
    with tempfile.TemporaryDirectory() as folder:
        ingot = make_model(Path(folder), "routed", hidden=128, layers=2, context=2048)
        for turn in range(load.repeats):
            for policy in POLICIES:
                figures[policy].append(measure(program, policy, ingot, load, turn))
    base = median_and_spread([rate for rate, _ in figures[POLICIES[0]]])[0]
    slow = median_and_spread([seconds for _, seconds in figures[POLICIES[0]]])[0]
    for policy in POLICIES:
        rate, spread = median_and_spread([rate for rate, _ in figures[policy]])
        first = policy == POLICIES[0]
        report.add(
            Row(
                f"prompt tokens found in the caches, {policy}",
                rate,
                "of 1",
                spread,
                peer=None if first else POLICIES[0],
                peer_value=None if first else base,
                ratio=None if first else rate / base,
                limit=1 - load.groups / load.requests,
                share=rate / (1 - load.groups / load.requests),
                bar=None if first else "above round robin",
                met=None if first else rate > base,
            )
        )
        took, spread = median_and_spread([seconds for _, seconds in figures[policy]])
        report.add(
            Row(
                f"median request, {policy}",
                1000 * took,
                "ms",
                spread,
                peer=None if first else POLICIES[0],
                peer_value=None if first else 1000 * slow,
                ratio=None if first else slow / took,
            )
        )
    return report.finish(asked.json)


def _settings(ingot: Path, texts: list[str]) -> list[str]:
    """Return the settings of a server whose cache holds part of the prefixes."""
    from ingot.artifact import open_ingot  # noqa: PLC0415 (the servers are processes of their own)

    with open_ingot(ingot) as opened:
        blocks = sum(len(opened.tokenizer.encode(text)) // _BLOCK for text in texts)
    return [
        f"engine.num_blocks={int(_HELD * blocks)}",
        "engine.max_context=1024",
        "engine.max_sequences=4",
        f"engine.block_size={_BLOCK}",
    ]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + _READY_S
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"{url}/readiness", timeout=5).status_code == 200:
                return
        time.sleep(0.2)
    raise RuntimeError(f"the router is not ready (exit code {process.poll()})")


def _version(program: str) -> str:
    python = Path(program).resolve().with_name("python")
    if not python.exists():
        return "smg"
    code = "from importlib.metadata import version; print('smg', version('smg'))"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)  # noqa: S603
    return done.stdout.strip() or "smg"


if __name__ == "__main__":
    sys.exit(main())
