"""A peer's driver as a process, measured request by request."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import tempfile
import time
from pathlib import Path
from typing import IO, Any, cast

_PATIENCE_S = 900.0
_ROOT = Path(__file__).parents[2]


class PeerFailed(RuntimeError):  # noqa: N818 (the name says enough)
    """The peer ended or did not answer; the text is the end of its output."""


class PeerProcess:
    """A running driver; use it as a context manager."""

    def __init__(self, command: list[str]) -> None:
        self._complaints: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (closed on exit)
        self._process = subprocess.Popen(  # noqa: S603 (our own driver)
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
            cwd=_ROOT,
            text=True,
            env=_environment(),
        )
        self._requests = cast(IO[str], self._process.stdin)
        self._answers = cast(IO[str], self._process.stdout)
        self._read()

    def __enter__(self) -> PeerProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._complaints.close()

    def rate(self, do: str, **details: int) -> float:
        """Return tokens per second of what ``benchmarks.workloads`` calls ``do``."""
        self._requests.write(json.dumps({"do": do, **details}) + "\n")
        self._requests.flush()
        return float(self._read()["rate"])

    def _read(self) -> Any:
        with selectors.DefaultSelector() as selector:
            selector.register(self._answers, selectors.EVENT_READ)
            line = self._answers.readline() if selector.select(_PATIENCE_S) else ""
        if not line:
            self._process.kill()
            self._complaints.seek(0)
            raise PeerFailed(self._complaints.read()[-800:].decode(errors="replace"))
        return json.loads(line)


def first_token_s(command: list[str]) -> float:
    """Return the seconds from a driver's start to the end of its first token."""
    started = time.perf_counter()
    subprocess.run(  # noqa: S603 (our own driver)
        [*command, "--first-token"],
        check=True,
        capture_output=True,
        timeout=_PATIENCE_S,
        cwd=_ROOT,
        env=_environment(),
    )
    return time.perf_counter() - started


def _environment() -> dict[str, str]:
    return {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(_ROOT)}
