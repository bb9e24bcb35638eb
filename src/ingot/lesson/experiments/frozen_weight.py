"""One weight in memory that cannot be written, and two attempts to write it."""

from __future__ import annotations

import ctypes
import resource
import signal
import struct
import subprocess
import sys
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from ingot.artifact import SealedBuffer
from ingot.errors import IngotError

_TIMEOUT_S = 60.0
_VICTIM = """
from ingot.lesson.experiments.frozen_weight import FrozenWeight
FrozenWeight({weight!r}).write_through_pointer({other!r})
"""


class FrozenWeight:
    """A model of one weight, in sealed memory: ``weight * input`` is all it does.

    Args:
        weight: Stored as float64.
    """

    def __init__(self, weight: float) -> None:
        self._memory = SealedBuffer(8)
        struct.pack_into("=d", self._memory.view, 0, weight)
        self._memory.seal()

    @property
    def array(self) -> NDArray[np.float64]:
        """The weight, float64 (1,), read-only."""
        return np.frombuffer(self._memory.readonly, np.float64)

    def predict(self, value: float | Fraction) -> float:
        """Return the answer to an input."""
        return float(self.array[0]) * float(value)

    def try_to_write(self, weight: float) -> str:
        """Try to change the weight from Python; return the words it is refused with.

        Raises:
            IngotError: nothing stopped it.
        """
        try:
            self.array[0] = weight
        except ValueError as refusal:
            return f"{type(refusal).__name__}: {refusal}"
        raise IngotError("the write was not refused", where="frozen weight")

    def write_through_pointer(self, weight: float) -> None:
        """Write to the weight's address past Python's checks; the process does not survive."""
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the crash is meant; leave no dump
        ctypes.memmove(self.array.ctypes.data, struct.pack("=d", weight), 8)


def write_in_another_process(weight: float, other: float) -> str:
    """Let a separate process write through a pointer; return how the kernel ended it.

    Raises:
        IngotError: it lived on.
    """
    script = _VICTIM.format(weight=weight, other=other)
    done = subprocess.run(  # noqa: S603 (this interpreter, our own script)
        [sys.executable, "-c", script], capture_output=True, timeout=_TIMEOUT_S, check=False
    )
    if done.returncode >= 0:
        raise IngotError(
            f"a process wrote to sealed memory and ended with {done.returncode}",
            where="frozen weight",
        )
    number = -done.returncode
    return f"{signal.Signals(number).name} (signal {number})"
