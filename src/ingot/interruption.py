"""SIGINT and SIGTERM, heard within a second even while native code runs.

Python runs a signal's handler between two of its own instructions, so a library that computes
for a minute in native code delays it for a minute. Here the signal also writes a byte to a pipe
(``signal.set_wakeup_fd``), which wakes a thread. The thread answers at once, and ends the process
where the block has not ended by itself soon after. Everything on disk is written so that a
process may end anywhere.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial

from ingot.errors import Interrupted

_GRACE_S = 0.7  # between the signal and the end of the process
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_SHOW_CURSOR = "\x1b[?25h"  # a progress display hides it


def _never() -> bool:
    return False


@contextlib.contextmanager
def stoppable(
    stopped: Callable[[], Interrupted], *, finish: Callable[[], bool] = _never
) -> Iterator[None]:
    """Stop the block at SIGINT or SIGTERM; outside the main thread, do nothing.

    A first signal stops the block at once, unless ``finish`` returns True; a second one does so
    in any case. At once means: by ``KeyboardInterrupt``, or if native code keeps the main thread
    from it, by ending the process with exit code 130.

    Args:
        stopped: Returns the error that says what was kept. Called when the block has been
            stopped, also from another thread.
        finish: Called at the first signal, in two threads; returns whether the block was told to
            end by itself, to save what it has.

    Raises:
        Interrupted: what ``stopped`` returned: the block was stopped at once.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread receives signals
        return
    signals = 0

    def handle(_number: int, _frame: object) -> None:
        nonlocal signals
        signals += 1
        if signals > 1 or not finish():
            raise KeyboardInterrupt

    left = threading.Event()
    reader, writer = os.pipe()
    os.set_blocking(writer, False)  # as set_wakeup_fd demands
    watch = partial(_watch, reader, handle, left, stopped, finish)
    watcher = threading.Thread(target=watch, name="ingot-signals", daemon=True)
    watcher.start()
    fd_before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    handlers = {number: signal.signal(number, handle) for number in _SIGNALS}
    try:
        yield
    except KeyboardInterrupt as error:
        raise stopped() from error
    finally:
        left.set()
        for number, handler in handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(fd_before)
        os.close(writer)  # ends the thread
        watcher.join()


def _watch(
    reader: int,
    handle: Callable[[int, object], None],
    left: threading.Event,
    stopped: Callable[[], Interrupted],
    finish: Callable[[], bool],
) -> None:
    """End the process after a signal, unless the block is left or finishes by itself."""
    with os.fdopen(reader, "rb", buffering=0) as signals:
        heard = 0
        while numbers := signals.read(1):
            if numbers[0] not in _SIGNALS or signal.getsignal(numbers[0]) is not handle:
                continue  # another signal, such as SIGCHLD, or one that a server inside handles
            heard += 1
            if heard == 1 and finish():
                continue
            if not left.wait(_GRACE_S):
                _end(stopped())


def _end(error: Interrupted) -> None:
    # Not by sys.stderr: the main thread may hold its lock.
    shown = _SHOW_CURSOR if os.isatty(2) else ""
    with contextlib.suppress(OSError):
        os.write(2, f"{shown}\nerror: {error}\n".encode(errors="replace"))
    with contextlib.suppress(Exception):
        sys.stdout.flush()
    os._exit(error.exit_code)
