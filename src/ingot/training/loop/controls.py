"""What a person may ask of a run while it goes."""

from __future__ import annotations

import threading
import time

_POLL_SECONDS = 0.1


class Controls:
    """Wishes, from any thread; the run looks at them after each update."""

    def __init__(self) -> None:
        self._checkpoint = threading.Event()
        self._paused = threading.Event()

    @property
    def paused(self) -> bool:
        """Whether the run is to wait."""
        return self._paused.is_set()

    def checkpoint(self) -> None:
        """Ask for a checkpoint after the current update."""
        self._checkpoint.set()

    def pause(self) -> None:
        """Have the run wait after its current update; the time does not count."""
        self._paused.set()

    def go_on(self) -> None:
        """Have a run that waits go on."""
        self._paused.clear()

    def take_checkpoint(self) -> bool:
        """Return whether a checkpoint is wished for, once for each wish."""
        wished = self._checkpoint.is_set()
        self._checkpoint.clear()
        return wished

    def wait(self, interrupted: threading.Event) -> float:
        """Wait as long as the run is paused and not to be stopped; return the seconds."""
        started = time.perf_counter()
        while self._paused.is_set() and not interrupted.wait(_POLL_SECONDS):
            pass
        return time.perf_counter() - started
