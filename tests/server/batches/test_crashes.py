"""Batches through crashes: each request has one result, whatever happens when."""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import openai
import pytest

from tests.server.batches.conftest import Client, line

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("every", [6, pytest.param(1, marks=pytest.mark.long)])
def test_a_crash_at_any_operation_on_the_disk_loses_and_doubles_nothing(
    tmp_path: Path, every: int
) -> None:
    script, folder = "tests.server.batches.crash_points", str(tmp_path / "batches")
    done = subprocess.run(
        [sys.executable, "-m", script, folder, str(every)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 15, "operations of one batch"


class Process:
    """``ingot serve`` in a process of its own, which a test may kill."""

    def __init__(self, ingot_path: Path, folder: Path) -> None:
        command = [sys.executable, "-m", "ingot", "serve", str(ingot_path), "--port", "0", "--json"]
        command += ["--batches", str(folder), "--threads", "1"]
        command += ["--set", "server.drain_timeout_s=1", "--set", "server.log_requests=false"]
        self.log = folder.with_suffix(".log")
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        assert self._process.stdout is not None
        said = "".join(iter(self._process.stdout.readline, "}\n"))
        self.client = Client(json.loads(said + "}")["url"])

    @property
    def pid(self) -> int:
        return self._process.pid

    def kill(self) -> None:
        """End it whatever it does; nothing if it has ended."""
        self._process.kill()
        self._process.wait(60)

    def end(self, kind: signal.Signals = signal.SIGKILL) -> None:
        self._process.send_signal(kind)
        assert self._process.wait(60) in (0, -kind)
        assert self._process.stdout is not None
        self._process.stdout.close()


Start = Callable[[Path, Path], Process]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start servers; those that a failed test leaves are killed."""
    started: list[Process] = []

    def start(ingot_path: Path, folder: Path) -> Process:
        started.append(Process(ingot_path, folder))
        return started[-1]

    yield start
    for each in started:
        each.kill()


LINES = [line(f"r{n}", model="tiny", max_tokens=24, ignore_eos=True) for n in range(400)]


def test_a_killed_server_resumes_its_batches(
    start: Start, ingot_path: Path, tmp_path: Path
) -> None:
    folder, progress, chance = tmp_path / "batches", 0, random.Random(7)
    server = start(ingot_path, folder)
    batch_id = server.client.begin(LINES).id
    for kind in (signal.SIGKILL, signal.SIGTERM):
        # A busy machine may let the server finish before this process looks again.
        wanted = min(progress + chance.randint(1, 80), len(LINES))
        server.client.wait(
            batch_id, lambda one, wanted=wanted: one.request_counts.completed >= wanted
        )
        time.sleep(chance.random() / 5)
        server.end(kind)
        server = start(ingot_path, folder)
        server.client.wait(batch_id, lambda one: one.status != "validating")
        progress = server.client.openai.batches.retrieve(batch_id).request_counts.completed
        assert progress >= wanted, "what was reported is kept"
    batch = server.client.wait(batch_id)
    results = server.client.results(batch.output_file_id)
    server.end(signal.SIGTERM)
    assert (batch.status, batch.error_file_id) == ("completed", None)
    assert results.keys() == {one["custom_id"] for one in LINES}
    texts = {one["response"]["body"]["choices"][0]["text"] for one in results.values()}
    assert len(texts) == 1, "greedy answers to one prompt"


def test_a_full_disk_loses_nothing(start: Start, ingot_path: Path, tmp_path: Path) -> None:
    folder = tmp_path / "batches"
    server = start(ingot_path, folder)
    batch = server.client.begin(LINES)
    server.client.wait(batch.id, lambda one: one.request_counts.completed > 0)
    # No file may grow beyond what the results have reached, as on a disk that is full.
    limit = (folder / "batches" / f"{batch.id}.output.jsonl").stat().st_size + 1000
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    deadline = time.monotonic() + 120
    while "the disk is full" not in server.log.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    counts = server.client.openai.batches.retrieve(batch.id).request_counts
    with pytest.raises(openai.APIStatusError, match="disk is full") as caught:
        server.client.openai.files.create(file=("a", b"x" * (limit + 1)), purpose="batch")
    assert caught.value.status_code == 507
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
    batch = server.client.wait(batch.id)
    results = server.client.results(batch.output_file_id)
    server.end(signal.SIGTERM)
    assert counts.completed < batch.request_counts.completed == 400
    assert results.keys() == {one["custom_id"] for one in LINES}
    waits = [text for text in server.log.read_text().splitlines() if "loses nothing" in text]
    assert len(waits) == 1, "said once"
