"""Processes in which grammars are compiled and followed, and what crosses to them."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import threading
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ingot.errors import ResourceError
from ingot.inference.request import grammar_worker as worker
from ingot.model.tokenizer import Tokenizer

_WORKER = Path(worker.__file__)
_PATIENCE = 30.0  # seconds beyond a child's own limit, as a loaded machine may be slow
_LOADING_S = 300.0

LIMITS: Mapping[str, Any] = {
    "max_items_in_row": 2_000,  # four for each optional property of an object
    "initial_lexer_fuel": 500_000,
    "step_lexer_fuel": 50_000,
    "step_max_items": 20_000,
    "max_lexer_states": 5_000,
    "max_grammar_size": 100_000,
    "verbose_errors": False,
}
"""The library's own measures of work."""


class ChildDied(Exception):  # noqa: N818  its name says what happened
    """A child was killed by its limits, by the library's fault, or did not answer."""


class Child:
    """One connection to one child. Not thread-safe."""

    def __init__(self, connection: socket.socket, seconds: float) -> None:
        self._connection = connection
        connection.settimeout(seconds + _PATIENCE)

    def ask(
        self, operation: int, number: int = 0, value: int = 0, data: bytes = b""
    ) -> tuple[int, bytes]:
        """Carry out one operation; return its flags and bytes.

        Raises:
            ChildDied: there is no answer.
        """
        head = worker.HEAD.pack(operation, number, value)
        message = worker.LENGTH.pack(len(head) + len(data)) + head + data
        try:
            self._connection.sendall(message)
            reply = worker.receive(self._connection)
        except OSError as error:
            raise ChildDied from error
        if not reply:
            raise ChildDied
        return reply[0], reply[1:]

    def close(self) -> None:
        """End the child, at once or at the end of what it does."""
        self._connection.close()


class GrammarProcess:
    """Process that holds one tokenizer and forks children; started when first asked.

    Thread-safe. It is started again if it is gone.

    Args:
        tokenizer: The model's own.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._lock = threading.Lock()
        self._requests: socket.socket | None = None
        self._closed = False

    def child(self, *, memory: int, seconds: float) -> Child:
        """Fork a child.

        Args:
            memory: Most bytes that it may take.
            seconds: Most processor time of one operation.

        Raises:
            ResourceError: the machine cannot start a process.
        """
        limits = json.dumps({"memory": memory, "seconds": seconds}).encode()
        with self._lock:
            for _ in range(2):
                ours, its = socket.socketpair()
                try:
                    with its:
                        requests = self._requests or self._start()
                        socket.send_fds(requests, [limits], [its.fileno()])
                        if requests.recv(1):
                            return Child(ours, seconds)
                except OSError:
                    pass
                ours.close()
                self._stop()
        raise _cannot_start("it ends at once")

    def close(self) -> None:
        """End the process; its children end when they are closed."""
        with self._lock:
            self._closed = True
            self._stop()

    def _start(self) -> socket.socket:
        if self._closed:
            raise _cannot_start("the model is closed")
        ours, its = socket.socketpair()
        with its:
            try:
                process = subprocess.Popen(  # noqa: S603  our own script, no shell
                    [sys.executable, "-I", str(_WORKER)],
                    stdin=its.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    env={},
                    process_group=0,  # Ctrl-C in a terminal is not meant for it
                )
            except OSError as error:
                ours.close()
                raise _cannot_start(str(error.strerror)) from error
        self._requests = ours
        self._finalizer = weakref.finalize(self, _end, process, ours)
        tokenizer = self._tokenizer
        setup = json.dumps(
            {
                "tokenizer": tokenizer.to_json(),
                "vocab_size": tokenizer.vocab_size,
                "end_ids": [tokenizer.eos_id, *sorted(tokenizer.stop_ids - {tokenizer.eos_id})],
                "limits": dict(LIMITS),
            }
        ).encode()
        ours.settimeout(_LOADING_S)
        ours.sendall(worker.LENGTH.pack(len(setup)) + setup)
        if not ours.recv(1):
            raise _cannot_start("it does not take the tokenizer")
        return ours

    def _stop(self) -> None:
        if self._requests is not None:
            self._requests = None
            self._finalizer()


def _cannot_start(reason: str) -> ResourceError:
    return ResourceError(f"cannot start a process for it ({reason})", where="grammar")


def _end(process: subprocess.Popen[bytes], requests: socket.socket) -> None:
    requests.close()
    process.kill()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=5)
