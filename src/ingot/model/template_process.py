"""Rendering of chat templates in a child process that is killed when it hangs."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ingot.errors import ArtifactError, ResourceError, UsageError

_WORKER = Path(__file__).with_name("template_worker.py")
_PATIENCE = 30.0  # seconds beyond the worker's own limit, as a loaded machine may be slow
_READ = 1 << 16


class TemplateProcess:
    """Child process that renders one template within limits of time, memory and length.

    Safe to call from several threads. The process is started again after a
    template had to be stopped.

    Args:
        source: The template, in Jinja.
        where: What to call it in an error.
        seconds: Longest processor time for one call of ``render``.
        characters: Longest text.

    Raises:
        ArtifactError: the template is not valid Jinja.
    """

    def __init__(self, source: str, *, where: object, seconds: float, characters: int) -> None:
        self._where, self._seconds = where, seconds
        setup = {"template": source, "seconds": seconds, "characters": characters}
        self._setup = json.dumps(setup).encode() + b"\n"
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False
        with self._lock:
            self._start()

    def render(self, variables: Sequence[Mapping[str, Any]]) -> list[str]:
        """Render the template once for each mapping of variables, which must be JSON.

        Raises:
            UsageError: the template refuses the conversation, or fails on it.
            ArtifactError: it takes too long, or too much memory, or makes too long a text.
            ResourceError: the machine cannot start a process.
        """
        asked = json.dumps(list(variables)).encode() + b"\n"
        with self._lock:
            if self._closed:
                raise UsageError("is closed", where=self._where)
            process = self._process or self._start()
            reply = self._exchange(process, asked)
        texts: list[str] = reply["texts"]
        return texts

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._closed = True
            self._stop()

    def _start(self) -> subprocess.Popen[bytes]:
        try:
            process = subprocess.Popen(  # noqa: S603  our own script, no shell
                [sys.executable, "-I", str(_WORKER)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={},
                start_new_session=True,  # Ctrl-C in a terminal is not meant for it
            )
        except OSError as error:
            raise ResourceError(
                f"cannot start a process for it ({error.strerror})", where=self._where
            ) from error
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                os.set_blocking(pipe.fileno(), False)
        self._process = process
        self._finalizer = weakref.finalize(self, _end, process)
        self._exchange(process, self._setup)
        return process

    def _stop(self) -> None:
        if self._process is not None:
            self._process = None
            self._finalizer()

    def _exchange(self, process: subprocess.Popen[bytes], data: bytes) -> dict[str, Any]:
        """Send one line and return the reply; raise the error that it reports."""
        try:
            line = _converse(process, data, time.monotonic() + self._seconds + _PATIENCE)
        except BaseException:
            self._stop()
            raise
        if line is None:
            self._stop()
            raise self._limit(f"takes more than {self._seconds:g} s or dies of it")
        reply: dict[str, Any] = json.loads(line)
        if "limit" in reply:
            raise self._limit(reply["limit"])
        if "syntax" in reply:
            self._stop()
            raise ArtifactError(f"is not valid Jinja ({reply['syntax']})", where=self._where)
        if "refused" in reply:
            raise UsageError(f"refuses the conversation: {reply['refused']}", where=self._where)
        if "failed" in reply:
            raise UsageError(
                f"cannot render the conversation ({reply['failed']})", where=self._where
            )
        return reply

    def _limit(self, what: str) -> ArtifactError:
        return ArtifactError(
            f"{what} to render", where=self._where, fix="use another template, or shorter messages"
        )


def _converse(process: subprocess.Popen[bytes], data: bytes, deadline: float) -> bytes | None:
    """Write ``data`` and read one line; None if the process is gone or the deadline passes."""
    if process.stdin is None or process.stdout is None:
        return None
    stdin, stdout = process.stdin.fileno(), process.stdout.fileno()
    unsent, received = memoryview(data), bytearray()
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
                else:
                    block = os.read(stdout, _READ)
                    received += block
                    if not block or block.endswith(b"\n"):
                        return bytes(received) if block else None
    return None


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=5)
