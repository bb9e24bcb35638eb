"""Process that encodes long texts, beside the server's threads instead of among them.

It serves the tokenizers that the native core does not know. A thread is not enough for them: the
library releases the GIL, but turning a million ids into Python objects does not, and a thread of
low priority that holds the GIL holds up all others.
"""

from __future__ import annotations

import subprocess
import threading
import weakref
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ingot.errors import ArtifactError, ResourceError
from ingot.model import Tokenizer
from ingot.worker_process import end_worker, exchange, start_worker

_WORKER = Path(__file__).with_name("encoder_worker.py")
_PATIENCE_S = 120.0  # a megabyte takes 1.5 s, and ten times as long where all CPUs are busy
_LENGTH = 8  # bytes of the length in front of a message


class EncoderProcess:
    """Child process with the tokenizer of one model.

    Safe to call from several threads, which wait for each other. The process starts with the
    first text, and again after one that it did not survive.

    Args:
        tokenizer: The model's.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._setup = [text.encode() for text in (tokenizer.to_json(), tokenizer.continuing_json())]
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False

    def encode(self, text: str, *, continues: bool = False) -> NDArray[np.uint32]:
        """Return the token ids of ``text`` (tokens,), the same as the tokenizer's own ``encode``.

        Args:
            text: The text.
            continues: Whether it continues other text.

        Raises:
            ArtifactError: the tokenizer fails on it, or takes too long.
            ResourceError: the machine cannot start a process.
        """
        with self._lock:
            if self._closed:
                raise ArtifactError("is closed", where="tokenizer.json")
            process = self._process or self._start()
            try:
                data = _converse(process, [bytes([continues]) + text.encode()])
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
            process = start_worker(_WORKER)
        except OSError as error:
            raise ResourceError(
                f"cannot start a process for it ({error.strerror})", where="tokenizer.json"
            ) from error
        self._process = process
        self._finalizer = weakref.finalize(self, end_worker, process)
        _converse(process, [*self._setup, b"\0"])  # an empty text, to learn that it works
        return process

    def _stop(self) -> None:
        if self._process is not None:
            self._process = None
            self._finalizer()


def _converse(process: subprocess.Popen[bytes], messages: list[bytes]) -> bytes | None:
    """Send messages and return the answer; None if the process is gone or takes too long."""
    data = b"".join(len(message).to_bytes(_LENGTH, "little") + message for message in messages)
    reply = exchange(process, data, _PATIENCE_S, _is_whole)
    return None if reply is None else reply[_LENGTH:]


def _is_whole(received: bytearray) -> bool:
    """Tell whether a message is there, behind its length."""
    length = int.from_bytes(received[:_LENGTH], "little")
    return len(received) >= _LENGTH and len(received) - _LENGTH == length
