"""Who may run next: by priority, then the tenant that was served least, then the oldest.

Fair sharing by virtual token counters (VTC, arXiv:2401.00588): each tenant has a
counter of the service it was given, in tokens read plus twice the tokens written,
and the least served tenant is next. A tenant that comes with nothing waiting starts
no lower than the one last chosen: nobody saves up service by being idle. Each
priority keeps counters of its own.
"""

from __future__ import annotations

import heapq
import itertools
from collections import OrderedDict
from collections.abc import Iterator

from ingot.inference.request.sequence import Sequence

READ_COST = 1
"""Service of one prompt token that was computed."""
WRITE_COST = 2
"""Service of one token drawn."""
_REMEMBERED = 4_096  # counters of tenants that do not wait

_Line = tuple[int, str]  # priority and tenant


class FairQueue:
    """The sequences that wait; an operation takes time logarithmic in the tenants that wait."""

    def __init__(self) -> None:
        self._lines: dict[_Line, OrderedDict[Sequence, None]] = {}
        self._order: list[tuple[int, float, int, str]] = []
        """A heap of (priority, counter when pushed, serial, tenant). Counters only grow, so an
        entry behind its counter is pushed again when it comes up; some lines are gone."""
        self._serials = itertools.count()
        self._served: dict[_Line, float] = {}
        self._floors: dict[int, float] = {}
        """For each priority the counter of the tenant last chosen."""
        self._count = 0
        self.tokens = 0
        """Tokens of all that wait."""

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Sequence]:
        for line in self._lines.values():
            yield from line

    def push(self, sequence: Sequence) -> None:
        """Let a new sequence wait behind the others of its tenant."""
        self._line(sequence)[sequence] = None
        self._count += 1
        self.tokens += sequence.length

    def push_back(self, sequence: Sequence) -> None:
        """Let a sequence that was preempted wait in front of the others of its tenant."""
        self.push(sequence)
        self._line(sequence).move_to_end(sequence, last=False)

    def remove(self, sequence: Sequence) -> None:
        """Take a sequence out, wherever it stands."""
        name = sequence.options.priority, sequence.options.tenant
        line = self._lines[name]
        del line[sequence]
        if not line:
            del self._lines[name]
        self._count -= 1
        self.tokens -= sequence.length

    def first(self) -> Sequence | None:
        """Return the sequence whose turn it is."""
        while self._order:
            priority, counter, _, tenant = self._order[0]
            name = priority, tenant
            line = self._lines.get(name)
            if line is None:
                heapq.heappop(self._order)
            elif self._served[name] > counter:
                heapq.heapreplace(self._order, self._entry(name))
            else:
                self._floors[priority] = max(self._floors.get(priority, 0.0), counter)
                return next(iter(line))
        return None

    def charge(self, sequence: Sequence, service: float) -> None:
        """Count service that a sequence was given against its tenant."""
        name = sequence.options.priority, sequence.options.tenant
        self._served[name] = self._served.get(name, 0.0) + service

    def _line(self, sequence: Sequence) -> OrderedDict[Sequence, None]:
        """Return the line a sequence stands in, opened where nobody did."""
        name = sequence.options.priority, sequence.options.tenant
        if name not in self._lines:
            self._lines[name] = OrderedDict()
            floor = self._floors.get(sequence.options.priority, 0.0)
            self._served[name] = max(self._served.get(name, 0.0), floor)
            if len(self._order) > 2 * len(self._lines) + 16:
                self._order = [self._entry(line) for line in self._lines]
                heapq.heapify(self._order)
            else:
                heapq.heappush(self._order, self._entry(name))
            if len(self._served) > _REMEMBERED + len(self._lines):
                self._forget()
        return self._lines[name]

    def _entry(self, name: _Line) -> tuple[int, float, int, str]:
        priority, tenant = name
        return priority, self._served[name], next(self._serials), tenant

    def _forget(self) -> None:
        """Keep the counters of those who wait, and the largest debts of those who do not."""
        debts = {
            name: served - self._floors.get(name[0], 0.0)
            for name, served in self._served.items()
            if name not in self._lines
        }
        largest = heapq.nlargest(_REMEMBERED // 2, debts, key=debts.__getitem__)
        kept = {name for name in largest if debts[name] > 0} | self._lines.keys()
        self._served = {name: self._served[name] for name in kept}
        priorities = {priority for priority, _ in kept}
        self._floors = {one: floor for one, floor in self._floors.items() if one in priorities}
