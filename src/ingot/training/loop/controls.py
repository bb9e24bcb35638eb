"""Requests to a run while it trains: pause, resume, write a checkpoint."""

from __future__ import annotations

import threading
import time

_POLL_S = 0.1  # how late a resume or a stop may be noticed during a pause


class Controls:
    """Requests from any thread, which the run looks at after each update."""

    def __init__(self) -> None:
        self._checkpoint = threading.Event()
        self._pause = threading.Event()

    @property
    def pause_requested(self) -> bool:
        """Whether the run is to pause after its current update, or pauses already."""
        return self._pause.is_set()

    def checkpoint(self) -> None:
        """Request a checkpoint after the current update."""
        self._checkpoint.set()

    def pause(self) -> None:
        """Request a pause after the current update; its time does not count."""
        self._pause.set()

    def resume(self) -> None:
        """End a pause, or withdraw the request for one."""
        self._pause.clear()

    def take_checkpoint(self) -> bool:
        """Return whether a checkpoint is requested, once for each request."""
        requested = self._checkpoint.is_set()
        self._checkpoint.clear()
        return requested

    def wait(self, interrupted: threading.Event) -> float:
        """Wait until the pause ends or the run is to stop; return the seconds."""
        started = time.perf_counter()
        while self._pause.is_set() and not interrupted.wait(_POLL_S):
            pass
        return time.perf_counter() - started
