"""Fair choice among names by the service that each received.

Virtual token counters (VTC, arXiv:2401.00588): each name has a counter of its service, and
the one with the lowest counter is next. A name that starts to wait begins no lower than the
one last chosen did, so being idle saves up nothing.
"""

from __future__ import annotations

import heapq
import itertools


class LeastServed:
    """Names with something waiting, ordered by service; O(log n) per operation, amortized.

    Args:
        remembered: Maximum counters kept of names that do not wait. Beyond that, the half with
            the largest debts is kept: what the others forget is the least.
    """

    def __init__(self, remembered: int) -> None:
        self._remembered = remembered
        self._waiting: set[str] = set()
        self._served: dict[str, float] = {}
        self._floor = 0.0
        """Counter of the name last chosen."""
        self._order: list[tuple[float, int, str]] = []
        """A heap of (counter when pushed, serial, name). Counters only grow, so an entry below
        its counter is pushed again when it comes up; entries of names that left are skipped."""
        self._serials = itertools.count()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, name: str) -> None:
        """Let a name take part; no effect if it does already."""
        if name in self._waiting:
            return
        self._waiting.add(name)
        self._served[name] = max(self._served.get(name, 0.0), self._floor)
        if len(self._order) > 2 * len(self._waiting) + 16:
            self._order = [self._entry(one) for one in self._waiting]
            heapq.heapify(self._order)
        else:
            heapq.heappush(self._order, self._entry(name))

    def discard(self, name: str) -> None:
        """Let a name take no further part; its counter is kept."""
        self._waiting.discard(name)
        self._forget()

    def charge(self, name: str, service: float) -> None:
        """Add to a name's counter, whether it waits or not."""
        self._served[name] = self._served.get(name, 0.0) + service
        self._forget()

    def served(self, name: str) -> float:
        """Return a name's counter."""
        return self._served.get(name, 0.0)

    def first(self) -> str:
        """Return the waiting name that was served least.

        Raises:
            IndexError: none waits.
        """
        while True:
            counter, _, name = self._order[0]
            if name not in self._waiting:
                heapq.heappop(self._order)
            elif self._served[name] > counter:
                heapq.heapreplace(self._order, self._entry(name))
            else:
                return name

    def chosen(self, name: str) -> None:
        """Note that a name was served, before it is charged for that.

        Who starts to wait meanwhile begins there, and so comes before the name's next turn
        (the virtual time of start-time fair queueing, P. Goyal et al., SIGCOMM 1996).
        """
        self._floor = max(self._floor, self._served.get(name, 0.0))

    def least(self, most: int) -> list[str]:
        """Return up to ``most`` waiting names, the one that was served least first; O(n)."""
        return heapq.nsmallest(most, self._waiting, key=lambda name: (self._served[name], name))

    def _entry(self, name: str) -> tuple[float, int, str]:
        return self._served[name], next(self._serials), name

    def _forget(self) -> None:
        """Bound the counters of names that do not wait."""
        if len(self._served) <= self._remembered + len(self._waiting):
            return
        debts = {
            name: served - self._floor
            for name, served in self._served.items()
            if name not in self._waiting and served > self._floor
        }
        largest = heapq.nlargest(self._remembered // 2, debts, key=debts.__getitem__)
        self._served = {name: self._served[name] for name in (*self._waiting, *largest)}
