"""Child processes that run one of the package's scripts and answer over pipes."""

from __future__ import annotations

import contextlib
import os
import selectors
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

_READ = 1 << 18
_waited = threading.local()


def start_worker(script: Path) -> subprocess.Popen[bytes]:
    """Start a script with pipes that do not block, an empty environment and isolated imports.

    Raises:
        OSError: the machine cannot start a process.
    """
    process = subprocess.Popen(  # noqa: S603  our own script, no shell
        [sys.executable, "-I", str(script)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={},
        # Ctrl-C in a terminal is not meant for it. Not a new session: Linux divides the CPUs
        # among sessions first (sched_autogroup), so that a low priority would mean nothing.
        process_group=0,
    )
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            os.set_blocking(pipe.fileno(), False)
    return process


def exchange(
    process: subprocess.Popen[bytes],
    data: bytes,
    seconds: float,
    is_whole: Callable[[bytearray], bool],
) -> bytes | None:
    """Send a message and return the reply.

    Args:
        process: As ``start_worker`` returned it.
        data: The message.
        seconds: Longest wait for the whole reply.
        is_whole: Whether the bytes received so far are the whole reply.

    Returns:
        The reply, or None if the process is gone or the time has run out.
    """
    began_s, began = _cpu_s(process), time.monotonic()
    try:
        return _exchange(process, data, seconds, is_whole)
    finally:
        ended_s = _cpu_s(process)
        taken_s = time.monotonic() - began  # of one that is gone, or that another thread has ended
        if began_s is not None and ended_s is not None:
            taken_s = ended_s - began_s
        _waited.cpu_s = workers_cpu_s() + taken_s


def workers_cpu_s() -> float:
    """Return the processor time of workers while this thread waited for their replies, in all."""
    return getattr(_waited, "cpu_s", 0.0)


def _cpu_s(process: subprocess.Popen[bytes]) -> float | None:
    """Return the processor time of a process since its start; None if it is gone."""
    try:
        return time.clock_gettime(~process.pid << 3 | 2)  # clock_getcpuclockid(3), as Linux has it
    except OSError:
        return None


def _exchange(
    process: subprocess.Popen[bytes],
    data: bytes,
    seconds: float,
    is_whole: Callable[[bytearray], bool],
) -> bytes | None:
    if process.stdin is None or process.stdout is None:
        return None
    stdin, stdout = process.stdin.fileno(), process.stdout.fileno()
    unsent, received = memoryview(data), bytearray()
    deadline = time.monotonic() + seconds
    with selectors.DefaultSelector() as ready:
        ready.register(stdin, selectors.EVENT_WRITE)
        ready.register(stdout, selectors.EVENT_READ)
        while (left := deadline - time.monotonic()) > 0:
            for key, _ in ready.select(left):
                if key.fd == stdin:
                    try:
                        unsent = unsent[os.write(stdin, unsent) :]
                    except BrokenPipeError:
                        return None
                    if not unsent:
                        ready.unregister(stdin)
                    continue
                block = os.read(stdout, _READ)
                received += block
                if not block:
                    return None
                if is_whole(received):
                    return bytes(received)
    return None


def end_worker(process: subprocess.Popen[bytes]) -> None:
    """Kill the process and release its pipes."""
    process.kill()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=5)
