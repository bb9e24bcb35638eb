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
    before = _memory("VmRSS")
    ceiling = _memory("VmSize") + _CEILING
    resource.setrlimit(resource.RLIMIT_AS, (ceiling, resource.RLIM_INFINITY))
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    signal.setitimer(signal.ITIMER_PROF, PROCESSOR_S)  # SIGPROF ends the process
    outcome, reason = _outcome(target, data)
    signal.setitimer(signal.ITIMER_PROF, 0)
    taken = _memory("VmHWM") - before
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


def _memory(field: str) -> int:
    """Return a size of this process from the kernel's account, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) << 10
    raise KeyError(field)


def _read(stream: BinaryIO, length: int) -> bytes:
    data = stream.read(length)
    if len(data) < length:
        sys.exit("the harness is gone")
    return data


if __name__ == "__main__":
    main()
