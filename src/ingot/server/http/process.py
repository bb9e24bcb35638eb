"""How a process is set up that does nothing but serve."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import resource
import sys
from collections.abc import Iterator

# The event loop waits so long for an engine's thread that does not let go of the interpreter;
# Python's own 5 ms cost a quarter to a half of the throughput of 256 streams.
_SWITCH_S = 0.0005
# New objects between two collections. Python's own 700 came to three collections a second.
_NEW_OBJECTS = 10_000


@contextlib.contextmanager
def answering_comes_first() -> Iterator[None]:
    """Inside the block, keep the interpreter from making answers wait.

    Threads take turns more often, and the garbage collector, which stops all of them, runs
    less often and leaves alone what is there already: going through all modules and models
    took it 60 to 90 ms, several times a minute under load.
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
    """Give the system what has been freed and is kept in case it were needed again.

    glibc keeps it by thread and in pieces: 50 MB after some exchanges of an ingot of 30 MB.
    """
    gc.collect()
    with contextlib.suppress(AttributeError):  # other C libraries give it back by themselves
        ctypes.CDLL(None).malloc_trim(0)


def raise_file_limit() -> None:
    """Let the process hold as many connections as the system permits."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
