from __future__ import annotations

from pathlib import Path

import pytest

from ingot.worker_process import end_worker, exchange, start_worker

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
