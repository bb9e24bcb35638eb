"""Settings of a process that only serves: interpreter, garbage collector, limits."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import resource
import sys
from collections.abc import Iterator

# How long the event loop waits for an engine's thread that holds the GIL. Python's default of
# 5 ms cost a quarter to a half of the throughput of 256 streams.
_SWITCH_S = 0.0005
# New objects between two collections. Python's default of 700 meant three collections a second.
_NEW_OBJECTS = 10_000


@contextlib.contextmanager
def answering_comes_first() -> Iterator[None]:
    """Inside the block, keep pauses of the interpreter short.

    Threads switch more often, and the garbage collector, which stops all of them, runs less
    often and skips objects that exist already: scanning all modules and models took 60 to
    90 ms, several times a minute under load.
    """
    threshold, switch_s = gc.get_threshold(), sys.getswitchinterval()
    gc.collect()
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS)
    sys.setswitchinterval(_SWITCH_S)
    try:
        yield
    finally:
        sys.setswitchinterval(switch_s)
        gc.set_threshold(*threshold)
        gc.unfreeze()


def return_memory() -> None:
    """Return freed memory to the system.

    glibc keeps it in arenas per thread: 50 MB after some exchanges of an ingot of 30 MB.
    """
    gc.collect()
    with contextlib.suppress(AttributeError):  # other C libraries return it by themselves
        ctypes.CDLL(None).malloc_trim(0)


def raise_file_limit() -> None:
    """Raise the limit of open files to the most that the system permits."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
