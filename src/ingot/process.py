"""Process-wide state: environment, threads, arithmetic, garbage collector and limits.

Nothing else in the package changes state that outlives a call and that the whole process
shares. What lasts and what is restored:

- ``set_openmp_spin``: environment, when ``ingot`` is imported; lasts.
- ``set_torch_threads``: threads of PyTorch's operators; lasts until the next call. The
  phases ask for different numbers, so each sets its own before it computes.
- ``flush_denormals``: floating-point mode; restored.
- ``collect_rarely``: garbage collector, of a process that is the command line; lasts.
- ``short_pauses``: garbage collector and switch interval; restored.
- ``raise_file_limit``: limit of open files; lasts.
- ``end_with_parent``: signal at the parent's death; lasts.

Child processes set their own limits (``model/template_worker.py``,
``inference/request/grammar_worker.py``).
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import resource
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

# Python's default of 5 ms, for which the event loop waits while an engine's thread holds the
# GIL, cost a quarter to a half of the throughput of 256 streams.
_SWITCH_S = 0.0005
# New objects between two collections. Python's default of 700 meant three collections a second.
_NEW_OBJECTS = 10_000

_PR_SET_PDEATHSIG = 1
_MEMINFO = Path("/proc/meminfo")
_GROUP = Path("/sys/fs/cgroup")


def set_openmp_spin() -> None:
    """Shorten the time that OpenMP's threads spin while they wait for each other.

    On a machine that also does other work they spin away the time that their partner needs;
    docs/log.md has the figures. Must run before PyTorch is loaded, which reads it once. A
    value that the user has set is kept.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "3000")


def usable_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0))


def set_torch_threads(count: int) -> None:
    """Set how many threads PyTorch's CPU operators use, at least 1."""
    import torch  # noqa: PLC0415 (a server on a CPU must not load it)

    torch.set_num_threads(max(count, 1))


@contextlib.contextmanager
def flush_denormals() -> Iterator[None]:
    """Treat denormal numbers as 0 inside the block: arithmetic on them is slow on CPUs."""
    import torch  # noqa: PLC0415 (as above)

    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)  # the caller's arithmetic keeps denormals


def collect_rarely() -> None:
    """Let the garbage collector run less often, and skip the objects that exist already.

    Importing makes many objects and no garbage: 134 collections ran, for 65 ms, while the
    modules of ``ingot generate`` were imported.
    """
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS)


@contextlib.contextmanager
def short_pauses() -> Iterator[None]:
    """Keep pauses of the interpreter short inside the block, for a process that serves.

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


def available_bytes() -> int:
    """Return the free memory, in bytes, of the machine or of this process's control group."""
    meminfo = _MEMINFO.read_text(encoding="ascii")
    free = next(
        int(line.split()[1]) * 1024
        for line in meminfo.splitlines()
        if line.startswith("MemAvailable:")
    )
    with contextlib.suppress(OSError, ValueError):  # no such group, or one without a limit
        limit = int((_GROUP / "memory.max").read_text())
        return min(free, limit - int((_GROUP / "memory.current").read_text()))
    return free


def end_with_parent() -> None:
    """Have this process killed when its parent dies, however that ends (Linux; see prctl(2))."""
    with contextlib.suppress(AttributeError):  # other systems lack it
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
