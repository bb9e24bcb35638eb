from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from ingot.worker_process import end_worker, exchange, start_worker, workers_cpu_s

ECHO = """
import os, sys
assert not os.environ.get("HOME")
for line in sys.stdin.buffer:
    sys.stdout.buffer.write(line.upper())
    sys.stdout.buffer.flush()
"""


def is_line(received: bytearray) -> bool:
    return received.endswith(b"\n")


def script(folder: Path, source: str) -> Path:
    path = folder / "script.py"
    path.write_text(source)
    return path


def test_messages_longer_than_a_pipe_pass_both_ways(tmp_path: Path) -> None:
    process = start_worker(script(tmp_path, ECHO))
    try:
        for length in (1, 1_000_000, 3):
            reply = exchange(process, b"a" * length + b"\n", 300, is_line)
            assert reply == b"A" * length + b"\n"
    finally:
        end_worker(process)
    assert process.returncode is not None


@pytest.mark.parametrize("source", ["raise SystemExit", "import sys; sys.stdin.close()"])
def test_one_that_ends_is_no_reply(tmp_path: Path, source: str) -> None:
    process = start_worker(script(tmp_path, source))
    assert exchange(process, b"x" * 1_000_000, 300, is_line) is None
    end_worker(process)
    end_worker(process)  # may be asked for again


def test_the_time_runs_out_for_one_that_hangs(tmp_path: Path) -> None:
    process = start_worker(script(tmp_path, "import time; time.sleep(600)"))
    assert exchange(process, b"x\n", 0.1, is_line) is None
    end_worker(process)
    assert process.returncode is not None


def test_ctrl_c_does_not_reach_it_and_its_low_priority_counts(tmp_path: Path) -> None:
    """FAULTS A6, A7: Linux divides the CPUs among sessions before it looks at priorities."""
    process = start_worker(script(tmp_path, ECHO))
    try:
        assert os.getpgid(process.pid) != os.getpgid(0)
        assert os.getsid(process.pid) == os.getsid(0)
    finally:
        end_worker(process)


COMPUTES = """
import sys, time
for line in sys.stdin.buffer:
    end = time.process_time() + 0.2
    while time.process_time() < end:
        pass
    sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()
"""


def test_what_it_computes_is_charged_to_the_thread_that_waits(tmp_path: Path) -> None:
    process = start_worker(script(tmp_path, COMPUTES))
    try:
        for _ in range(2):
            before = workers_cpu_s()
            assert exchange(process, b"x\n", 300, is_line) == b"x\n"
            assert workers_cpu_s() - before > 0.19
        before = workers_cpu_s()
        os.kill(process.pid, signal.SIGKILL)
        assert exchange(process, b"x\n", 300, is_line) is None
        assert workers_cpu_s() >= before
    finally:
        end_worker(process)
