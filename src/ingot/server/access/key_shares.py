"""What the server's own work for one key may cost the others.

The engine shares its time among keys by itself (``engine.tenant_share``). Long bodies and texts are
the server's work, and where CPUs are few they take them from the engine. So a key has a credit of
seconds of one CPU, which grows by the same share of time. A key without credit waits, but only
while another key has requests open.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator

BURST_S = 0.1
"""Most seconds that a key saves up, so that a long text now and then does not wait."""


class KeyShares:
    """Seconds of one CPU that each key may take. Used on the event loop alone.

    Args:
        share: Part of the time by which a key's credit grows; 1 sets no limit.
        clock: Seconds that never go back.
    """

    def __init__(self, share: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._share = share
        self._clock = clock
        self._open = Counter[str]()
        self._full_at: dict[str, float] = {}
        """When the credit of a key that has spent some will be full."""

    @contextlib.contextmanager
    def open(self, key: str) -> Iterator[None]:
        """Count a request of a key inside the block."""
        self._open[key] += 1
        try:
            yield
        finally:
            self._open[key] -= 1
            if not self._open[key]:
                del self._open[key]

    def charge(self, key: str, seconds: float) -> None:
        """Take seconds of a key's credit; a key that is alone keeps it."""
        if self._limits(key):
            now = self._clock()
            self._full_at[key] = max(self._full_at.get(key, now), now) + seconds / self._share

    def wait_s(self, key: str) -> float:
        """Return the seconds until a key may begin more work, as things stand now."""
        if not self._limits(key):
            return 0.0
        full_at = self._full_at.get(key, 0.0)
        return max(0.0, full_at - self._clock() - BURST_S / self._share)

    def _limits(self, key: str) -> bool:
        """Return whether a key is limited: it and another have requests open."""
        return self._share < 1 and bool(key) and any(other != key for other in self._open)
