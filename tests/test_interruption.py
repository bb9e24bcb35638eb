"""Signals, heard by real processes in Python code, in native code and while something is saved."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from ingot.errors import Interrupted
from ingot.interruption import stoppable

PROGRAM = """
import hashlib, sys, time
from ingot.errors import Interrupted
from ingot.interruption import stoppable
def python():
    while True:
        time.sleep(0.01)
def native():  # minutes in one call
    hashlib.pbkdf2_hmac("sha256", b"", b"", 1_000_000_000)
def deaf():  # a library that takes KeyboardInterrupt for a fault of its own
    while True:
        try:
            python()
        except KeyboardInterrupt:
            pass
told = []
def save():
    while not told:
        time.sleep(0.01)
    print("saved", flush=True)
def stubborn():
    while not told:
        time.sleep(0.01)
    print("saves", flush=True)
    python()
def finish():
    told.append(1)
    return True
kind = sys.argv[1]
try:
    with stoppable(lambda: Interrupted("stopped; all is kept"),
                   **({"finish": finish} if kind in ("save", "stubborn") else {})):
        print("begun", flush=True)
        globals()[kind]()
    sys.exit(42)
except Interrupted as error:
    print("error:", error, file=sys.stderr)
    sys.exit(130)
"""


@contextmanager
def begun(kind: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, kind],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == "begun\n"
            time.sleep(0.1)  # so that it is most likely in its call
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("kind", ["python", "native", "deaf"])
def test_a_signal_is_heard_in_any_code(kind: str, number: signal.Signals) -> None:
    """FAULTS D4: exit code 130 and what was kept, also while a library computes."""
    with begun(kind) as process:
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.strip().endswith("error: stopped; all is kept")


def test_a_first_signal_lets_a_block_save() -> None:
    with begun("save") as process:
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=60)
    assert (process.returncode, out) == (42, "saved\n")


def test_a_second_signal_stops_what_is_still_saving() -> None:
    with begun("stubborn") as process:
        process.send_signal(signal.SIGINT)
        assert process.stdout
        assert process.stdout.readline() == "saves\n"
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 130


def test_handlers_that_the_block_sets_itself_are_respected() -> None:
    """A server inside the block ends by its own rules."""
    heard: list[int] = []
    with stoppable(lambda: Interrupted("stopped")):
        mine = signal.signal(signal.SIGTERM, lambda number, _: heard.append(number))
        signal.raise_signal(signal.SIGTERM)
        time.sleep(1.5)  # a process that was to be ended would have ended by now
        signal.signal(signal.SIGTERM, mine)
    assert heard == [signal.SIGTERM]


def test_handlers_are_put_back_and_other_signals_are_left_alone() -> None:
    heard: list[int] = []
    mine = signal.signal(signal.SIGUSR1, lambda number, _: heard.append(number))
    before = signal.getsignal(signal.SIGINT)
    try:
        with stoppable(lambda: Interrupted("stopped")):
            signal.raise_signal(signal.SIGUSR1)
        with pytest.raises(Interrupted), stoppable(lambda: Interrupted("stopped")):
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGUSR1, mine)
    assert heard == [signal.SIGUSR1]
    assert signal.getsignal(signal.SIGINT) is before
    assert signal.set_wakeup_fd(-1) == -1
