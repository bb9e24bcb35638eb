"""Rendering of chat templates in a child process that is killed when it hangs."""

from __future__ import annotations

import json
import subprocess
import threading
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ingot.errors import ArtifactError, ResourceError, UsageError
from ingot.worker_process import end_worker, exchange, start_worker

_WORKER = Path(__file__).with_name("template_worker.py")
_PATIENCE = 30.0  # seconds beyond the worker's own limit, as a loaded machine may be slow


class TemplateProcess:
    """Child process that renders one template within limits of time, memory and length.

    Safe to call from several threads. The process is started again after a
    template had to be stopped, and after a conversation that took long: that one runs at a low
    priority, beside the engine.

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
            process = start_worker(_WORKER)
        except OSError as error:
            raise ResourceError(
                f"cannot start a process for it ({error.strerror})", where=self._where
            ) from error
        self._process = process
        self._finalizer = weakref.finalize(self, end_worker, process)
        self._exchange(process, self._setup)
        return process

    def _stop(self) -> None:
        if self._process is not None:
            self._process = None
            self._finalizer()

    def _exchange(self, process: subprocess.Popen[bytes], data: bytes) -> dict[str, Any]:
        """Send one line and return the reply; raise the error that it reports."""
        try:
            line = exchange(process, data, self._seconds + _PATIENCE, _is_whole)
        except BaseException:
            self._stop()
            raise
        if line is None:
            self._stop()
            raise self._limit(f"takes more than {self._seconds:g} s or dies of it")
        reply: dict[str, Any] = json.loads(line)
        if "slow" in reply:  # it has lowered its priority for good, and ends
            self._stop()
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


def _is_whole(received: bytearray) -> bool:
    """Tell whether a reply, which is one line, is there."""
    return received.endswith(b"\n")
