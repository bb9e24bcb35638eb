"""The process in which a fuzzing target meets its inputs; started by ``harness``.

Standard input carries inputs, each after its length in eight bytes; standard output carries one
JSON line ``[outcome, reason]`` for each.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import traceback
from pathlib import Path
from typing import Any, BinaryIO

from ingot.errors import IngotError
from tests.fuzz.harness import load

PROCESSOR_S = 2.0
"""Processor time for one input; the machine may be busy, so wall time would say nothing."""
MEMORY = 64 << 20
"""Memory that an input may take beyond its own size, in bytes."""
_CEILING = 1 << 30  # bytes of addresses beyond those in use: keeps a bomb from the machine
_LONGEST_REFUSAL = 1000

# Open for good, because opening them takes as long as many an input.
_status = os.open("/proc/self/status", os.O_RDONLY | os.O_CLOEXEC)
_refs = os.open("/proc/self/clear_refs", os.O_WRONLY | os.O_CLOEXEC)


def main() -> None:
    """Answer until the input ends."""
    target = load(Path(sys.argv[1]))
    os.chdir(sys.argv[2])
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # whatever prints must not answer
    warm = False
    while length := sys.stdin.buffer.read(8):
        data = _read(sys.stdin.buffer, int.from_bytes(length, "little"))
        if not warm:  # imports and caches are not the input's memory
            warm = True
            _outcome(target, data)
        answers.write(json.dumps(_limited(target, data)).encode() + b"\n")


def _limited(target: Any, data: bytes) -> tuple[str, str]:
    """Try one input within the limits of time and memory."""
    resident, addresses = _memory(b"VmRSS", b"VmSize")
    resource.setrlimit(resource.RLIMIT_AS, (addresses + _CEILING, resource.RLIM_INFINITY))
    os.pwrite(_refs, b"5", 0)  # resets the peak
    signal.setitimer(signal.ITIMER_PROF, PROCESSOR_S)  # SIGPROF ends the process
    outcome, reason = _outcome(target, data)
    signal.setitimer(signal.ITIMER_PROF, 0)
    (peak,) = _memory(b"VmHWM")
    taken = peak - resident
    if taken > MEMORY + len(data):
        return "failed", f"{taken >> 20} MB of memory for {len(data)} bytes ({outcome})"
    return outcome, reason


def _outcome(target: Any, data: bytes) -> tuple[str, str]:
    try:
        target.attempt(data)
    except IngotError as error:
        message = str(error)
        if len(message) > _LONGEST_REFUSAL or "\n" in message or not message.isprintable():
            return "failed", f"a refusal that is not one short line: {message[:300]!r}"
        return "refused", message
    except BaseException:
        return "failed", traceback.format_exc()[-2000:]
    return "accepted", "accepted"


def _memory(*fields: bytes) -> list[int]:
    """Return sizes of this process from the kernel's account, in bytes."""
    status = os.pread(_status, 1 << 14, 0)
    found = (status.index(b"\n" + field + b":") + len(field) + 2 for field in fields)
    return [int(status[at : status.index(b"kB", at)]) << 10 for at in found]


def _read(stream: BinaryIO, length: int) -> bytes:
    data = stream.read(length)
    if len(data) < length:
        sys.exit("the harness is gone")
    return data


if __name__ == "__main__":
    main()
