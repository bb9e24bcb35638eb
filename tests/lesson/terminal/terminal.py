"""A real terminal of 80 columns for a program under test, driven by what it prints."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self

_PATIENCE_S = 240.0
_STYLE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """A program in a pseudo-terminal.

    Args:
        command: The program and its arguments.
        environment: Added to the environment.
        columns: Width.
    """

    def __init__(self, command: list[str], environment: Mapping[str, str], columns: int = 80):
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        given = {key: value for key, value in os.environ.items() if key != "COLUMNS"}
        self._process = subprocess.Popen(
            command,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            cwd=Path.cwd(),
            env={**given, "TERM": "xterm", **environment},
            start_new_session=True,
        )
        os.close(theirs)
        self._file = ours
        self._printed = b""
        self.text = ""
        """Everything that was printed, without styles and carriage returns."""
        self._read = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._file)

    def answer(self, prompt: str, line: str) -> None:
        """Wait for a prompt that was not answered yet, and type a line."""
        deadline = time.monotonic() + _PATIENCE_S
        while (found := self.text.find(prompt, self._read)) < 0:
            assert self._receive(deadline), f"{prompt!r} did not come:\n{self.text[-3000:]}"
        self._read = found + len(prompt)
        os.write(self._file, line.encode() + b"\n")

    def finish(self) -> int:
        """Wait until the program ends; return its exit status."""
        deadline = time.monotonic() + _PATIENCE_S
        while self._receive(deadline):
            pass
        return self._process.wait(_PATIENCE_S)

    def _receive(self, deadline: float) -> bool:
        """Read what comes next; False at the end."""
        remaining = deadline - time.monotonic()
        if remaining <= 0 or not select.select([self._file], [], [], remaining)[0]:
            return False
        try:
            data = os.read(self._file, 1 << 16)
        except OSError:  # the program has closed its side
            return False
        self._printed += data
        text = self._printed.decode(errors="replace").replace("\r\n", "\n")
        self.text = _STYLE.sub("", text)
        return bool(data)
