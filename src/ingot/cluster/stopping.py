"""Ctrl-C on its way to workers on other machines: a file in the folder that all of them see."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from ingot.api.callbacks import Callbacks

_STOP = ".stop"
_POLL_S = 0.5


def ask_to_stop(folder: Path) -> None:
    """Have the workers of the run in a folder stop, with a checkpoint."""
    with contextlib.suppress(OSError):  # the folder is not made yet: nothing would be lost
        (folder / _STOP).touch()


def forget_stop(folder: Path) -> None:
    """Take the request back."""
    (folder / _STOP).unlink(missing_ok=True)


@contextlib.contextmanager
def hearing_stop(folder: Path, callbacks: Callbacks | None = None) -> Iterator[Callbacks]:
    """Yield callbacks that interrupt the run in a folder once it is asked to stop."""
    interrupted, left = threading.Event(), threading.Event()

    def poll() -> None:
        while not left.wait(_POLL_S):
            if (folder / _STOP).exists():
                interrupted.set()
                return

    thread = threading.Thread(target=poll, name="ingot-stop", daemon=True)
    thread.start()
    try:
        yield replace(callbacks or Callbacks(), interrupted=interrupted)
    finally:
        left.set()
        thread.join()
