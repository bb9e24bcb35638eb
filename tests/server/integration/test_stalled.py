"""A server with objectives that is stopped for seconds, as a suspended machine is."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

STOPPED_S = 5.0


@pytest.fixture
def stalled(ingot_path: Path, tmp_path: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A server in a process of its own, and where it answers."""
    command = [sys.executable, "-m", "ingot", "serve", str(ingot_path), "--port", "0", "--json"]
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path)}
    with subprocess.Popen(
        [*command, "--objective", "ttft=2s,itl=1s"],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        try:
            assert process.stdout is not None
            said = "".join(iter(process.stdout.readline, "}\n"))
            yield json.loads(said + "}")["url"], process
        finally:
            process.send_signal(signal.SIGCONT)
            process.terminate()
            process.wait(60)


def ask(url: str, tokens: int = 8) -> httpx.Response:
    body: dict[str, Any] = {
        "model": "tiny",
        "prompt": "def",
        "max_tokens": tokens,
        "temperature": 0,
        "ignore_eos": True,
    }
    return httpx.post(f"{url}/v1/completions", json=body, timeout=120)


def test_what_runs_is_answered_and_new_requests_are_accepted_again(
    stalled: tuple[str, subprocess.Popen[str]],
    wait_until: Callable[[Callable[[], bool]], None],
    tmp_path: Path,
) -> None:
    url, process = stalled
    assert list((tmp_path / "ingot" / "costs").glob("*.json")), "measured, and kept"
    wait_until(lambda: ask(url).status_code == 200)
    answers: list[httpx.Response] = []
    running = threading.Thread(target=lambda: answers.append(ask(url, 1500)))
    running.start()
    time.sleep(0.2)
    process.send_signal(signal.SIGSTOP)
    time.sleep(STOPPED_S)
    process.send_signal(signal.SIGCONT)
    running.join(120)
    assert answers[0].status_code in (200, 429)
    wait_until(lambda: ask(url).status_code == 200)
    text = httpx.get(f"{url}/metrics", timeout=60).text
    error = next(line for line in text.splitlines() if line.startswith("ingot:step_prediction_e"))
    assert 0 <= float(error.rpartition(" ")[2]) <= 10
