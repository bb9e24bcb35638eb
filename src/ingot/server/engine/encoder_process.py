"""Process that encodes long texts, beside the server's threads instead of among them.

A thread is not enough: the tokenizer releases the GIL, but turning a million ids into
Python objects does not, and a thread of low priority that holds the GIL holds up all others.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ingot.errors import ArtifactError, ResourceError
from ingot.model import Tokenizer

_WORKER = Path(__file__).with_name("encoder_worker.py")
_PATIENCE_S = 120.0  # a megabyte takes 1.5 s, and ten times as long where all CPUs are busy
_READ = 1 << 18


class EncoderProcess:
    """Child process with the tokenizer of one model.

    Safe to call from several threads, which wait for each other. The process starts with the
    first text, and again after one that it did not survive.

    Args:
        tokenizer: The model's.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._setup = tokenizer.to_json().encode()
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False

    def encode(self, text: str) -> NDArray[np.uint32]:
        """Return the token ids of ``text`` (tokens,), the same as the tokenizer's own ``encode``.

        Raises:
            ArtifactError: the tokenizer fails on it, or takes too long.
            ResourceError: the machine cannot start a process.
        """
        with self._lock:
            if self._closed:
                raise ArtifactError("is closed", where="tokenizer.json")
            process = self._process or self._start()
            try:
                data = _converse(process, [text.encode()])
            except BaseException:
                self._stop()
                raise
            if data is None:
                self._stop()
                raise ArtifactError(
                    "fails on this text", where="tokenizer.json", fix="send another text"
                )
        return np.frombuffer(data, "<u4")

    def close(self) -> None:
        """End the process, with what it does."""
        self._closed = True
        if (process := self._process) is not None:
            process.kill()  # now, not when a text that is being encoded ends
        with self._lock:
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
                f"cannot start a process for it ({error.strerror})", where="tokenizer.json"
            ) from error
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                os.set_blocking(pipe.fileno(), False)
        self._process = process
        self._finalizer = weakref.finalize(self, _end, process)
        _converse(process, [self._setup, b""])  # an empty text, to learn that it works
        return process

    def _stop(self) -> None:
        if self._process is not None:
            self._process = None
            self._finalizer()


def _converse(process: subprocess.Popen[bytes], messages: list[bytes]) -> bytes | None:
    """Send messages and return the answer; None if the process is gone or takes too long."""
    if process.stdin is None or process.stdout is None:
        return None
    stdin, stdout = process.stdin.fileno(), process.stdout.fileno()
    unsent = memoryview(b"".join(len(m).to_bytes(8, "little") + m for m in messages))
    received = bytearray()
    deadline = time.monotonic() + _PATIENCE_S
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
                if len(received) >= 8 and len(received) - 8 == int.from_bytes(
                    received[:8], "little"
                ):
                    return bytes(received[8:])
    return None


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=5)
