"""Energy that the processors have used, from their own counters.

Source: the Linux kernel's power capping framework (Documentation/power/powercap), which offers
RAPL of Intel's and AMD's processors. Since 2020 only the system's administrator may read it.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

POWERCAP = Path("/sys/class/powercap")
_MICRO = 1e-6


class EnergyMeter:
    """Sum of all processor packages since the meter was made.

    A counter begins again at zero every hour or so under load. A meter that is read less often
    than that misses turns.

    Args:
        root: The folder of the power capping framework.
    """

    def __init__(self, root: Path = POWERCAP) -> None:
        self._packages = [
            package
            for folder in sorted(root.glob("intel-rapl:*"))
            if folder.name.count(":") == 1  # the others are parts of a package
            if (package := _Package.open(folder)) is not None
        ]

    @property
    def available(self) -> bool:
        """Whether there is a counter that may be read."""
        return bool(self._packages)

    def joules(self) -> float | None:
        """Return the energy so far; None where no counter may be read."""
        if not self._packages:
            return None
        return sum(package.read() for package in self._packages) * _MICRO


class _Package:
    """One counter, in microjoules."""

    def __init__(self, counter: Path, modulus: int, last: int) -> None:
        self._counter, self._modulus, self._last = counter, modulus, last
        self._sum = 0

    @classmethod
    def open(cls, folder: Path) -> _Package | None:
        """Return the counter of a package; None if it may not be read."""
        counter = folder / "energy_uj"
        with contextlib.suppress(OSError, ValueError):
            modulus = int((folder / "max_energy_range_uj").read_text(encoding="ascii")) + 1
            if modulus > 1:
                return cls(counter, modulus, int(counter.read_text(encoding="ascii")))
        return None

    def read(self) -> int:
        """Return the energy since the counter was opened."""
        with contextlib.suppress(OSError, ValueError):  # what was counted so far remains
            now = int(self._counter.read_text(encoding="ascii"))
            self._sum += (now - self._last) % self._modulus
            self._last = now
        return self._sum
