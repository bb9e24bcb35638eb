"""Child processes that run one of the package's scripts and answer over pipes."""

from __future__ import annotations

import contextlib
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

_READ = 1 << 18


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
        start_new_session=True,  # Ctrl-C in a terminal is not meant for it
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
