"""Queue of waiting sequences, fair to tenants first and to their users second.

The order is decided in four steps: the priority that the operator gave the tenant; the
tenant that was served least; the request's own priority, which therefore orders the
requests of one tenant alone; the tenant's user that was served least. Requests of one user
and priority are served in order of arrival. Service is tokens read plus twice the tokens
written (``least_served``), and no priority waits forever (``levels``).
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator

from ingot.inference.request.sequence import AGED, Sequence
from ingot.inference.scheduling.least_served import LeastServed
from ingot.inference.scheduling.levels import Levels
from ingot.inference.scheduling.recent import Recent

READ_COST = 1
"""Service of one computed prompt token."""
WRITE_COST = 2
"""Service of one generated token."""
_IDLE_TENANTS = 256
"""Tenants with nothing waiting whose users' service is remembered."""
_IDLE_LEVELS = 8
"""Priorities with nothing waiting that are remembered, of the operator and of each tenant."""
_REMEMBERED_TENANTS = 4_096
"""Counters of tenants with nothing waiting, for each priority of the operator."""
_REMEMBERED_USERS = 64
"""Counters of users with nothing waiting, for each priority of each remembered tenant."""


class FairQueue:
    """The sequences that wait; its memory is bounded by them and the constants above."""

    def __init__(self) -> None:
        self._classes = Recent[int, _Class](_Class, _IDLE_LEVELS)
        """By the operator's priority."""
        self._levels = Levels()
        self._count = 0
        self._by_tenant: dict[str, int] = {}
        self.tokens = 0
        """Tokens of all waiting sequences."""
        self.due = 0
        """Waiting sequences that have an objective to keep."""
        self.due_tokens = 0
        """Their tokens."""
        self.most_urgent: Callable[[Iterable[Sequence]], Sequence] | None = None
        """Chooses among the waiting sequences of one user and priority, given in order of arrival;
        None takes the first."""

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Sequence]:
        for one in self._classes.used():
            for tenant in one.tenants.used():
                for level in tenant.priorities.used():
                    for line in level.lines.values():
                        yield from line

    def waiting_of(self, tenant: str) -> int:
        """Return how many sequences of a tenant wait. Thread-safe."""
        return self._by_tenant.get(tenant, 0)

    def push(self, sequence: Sequence) -> None:
        """Add a new sequence behind the others of its user."""
        self._line(sequence)[sequence] = None

    def requeue(self, sequence: Sequence) -> None:
        """Add a preempted sequence before the others of its user."""
        line = self._line(sequence)
        line[sequence] = None
        line.move_to_end(sequence, last=False)

    def first(self) -> Sequence | None:
        """Return the sequence whose turn it is; None if none waits."""
        if not self._count:
            return None
        if self._levels.worse_is_due:
            heads = (self._classes[level].oldest() for level in self._levels.worse())
            return min(heads, key=_age)
        first = self._classes[self._levels.best()].first()
        return first if self.most_urgent is None else self.most_urgent(self._standing(first))

    def candidates(self, most: int) -> list[Sequence]:
        """Return up to ``most`` sequences of the best priorities, in about the order of turns.

        First the next one of each tenant, by the service it received, then their second ones.
        """
        if not self._count:
            return []
        one = self._classes[self._levels.best()]
        lines = [one.tenants[name].candidates(most) for name in one.order.least(most)]
        return _alternate(lines, most)

    def pop(self, sequence: Sequence) -> None:
        """Remove the sequence that ``first`` returned, and count its turn; ``charge`` it after.

        A sequence whose turn came by ageing keeps the best priority from here on, so that the
        flood it waited for cannot preempt it.
        """
        if self.most_urgent is not None:
            oldest = next(iter(self._standing(sequence)))
            oldest.passed += oldest is not sequence
        level, priority = sequence.tenant_priority, sequence.priority
        tenant = self._classes[level].tenants[sequence.options.tenant]
        aged_class, aged_request = self._levels.turn(level), tenant.levels.turn(priority)
        if not aged_class:
            self._classes[level].order.chosen(sequence.options.tenant)
        if not aged_request:
            tenant.priorities[priority].users.chosen(sequence.options.user)
        self.remove(sequence)
        if aged_class:
            sequence.tenant_priority = AGED
        if aged_request:
            sequence.priority = AGED

    def remove(self, sequence: Sequence) -> None:
        """Remove a sequence, wherever it stands."""
        level = sequence.tenant_priority
        one = self._classes[level]
        one.remove(sequence)
        self._add(sequence, -1)
        if not len(one.order):
            self._levels.discard(level)
            self._classes.rest(level)

    def charge(self, sequence: Sequence, service: float) -> None:
        """Count service to a sequence against its tenant and user, at its original priority."""
        options = sequence.options
        one = self._classes.touch(options.tenant_priority)
        one.order.charge(options.tenant, service)
        level = one.tenants.touch(options.tenant).priorities.touch(options.priority)
        level.users.charge(options.user, service)

    def tenant_service(self, sequence: Sequence) -> float:
        """Return the service counted against a sequence's tenant."""
        options = sequence.options
        return self._classes.touch(options.tenant_priority).order.served(options.tenant)

    def user_service(self, sequence: Sequence) -> float:
        """Return the service counted against a sequence's user, at its priority."""
        options = sequence.options
        tenant = self._classes.touch(options.tenant_priority).tenants.touch(options.tenant)
        return tenant.priorities.touch(options.priority).users.served(options.user)

    def _standing(self, sequence: Sequence) -> OrderedDict[Sequence, None]:
        """Return the line in which a waiting sequence stands."""
        tenant = self._classes[sequence.tenant_priority].tenants[sequence.options.tenant]
        return tenant.priorities[sequence.priority].lines[sequence.options.user]

    def _line(self, sequence: Sequence) -> OrderedDict[Sequence, None]:
        """Return the line that a sequence joins, and count it."""
        self._levels.add(sequence.tenant_priority)
        self._add(sequence, 1)
        return self._classes.use(sequence.tenant_priority).line(sequence)

    def _add(self, sequence: Sequence, count: int) -> None:
        """Add a sequence to the totals, or take it off."""
        tenant = sequence.options.tenant
        self._count += count
        self.tokens += count * sequence.length
        if sequence.timeliness is not None and not sequence.timeliness.given_up:
            self.due += count
            self.due_tokens += count * sequence.length
        left = self._by_tenant.pop(tenant, 0) + count
        if left:
            self._by_tenant[tenant] = left


class _Class:
    """The tenants of one priority of the operator."""

    def __init__(self) -> None:
        self.tenants = Recent[str, _Tenant](_Tenant, _IDLE_TENANTS)
        self.order = LeastServed(_REMEMBERED_TENANTS)

    def first(self) -> Sequence:
        """Return the next sequence of the tenant that was served least."""
        return self.tenants[self.order.first()].first()

    def oldest(self) -> Sequence:
        """Return the sequence that waits longest."""
        return min((tenant.oldest() for tenant in self.tenants.used()), key=_age)

    def line(self, sequence: Sequence) -> OrderedDict[Sequence, None]:
        """Return the line that a sequence joins."""
        self.order.add(sequence.options.tenant)
        return self.tenants.use(sequence.options.tenant).line(sequence)

    def remove(self, sequence: Sequence) -> None:
        """Remove a sequence; a tenant with nothing left to wait for rests."""
        name = sequence.options.tenant
        tenant = self.tenants[name]
        tenant.remove(sequence)
        if not tenant.count:
            self.order.discard(name)
            self.tenants.rest(name)


class _Tenant:
    """The requests of one tenant, by their priority."""

    def __init__(self) -> None:
        self.priorities = Recent[int, _Priority](_Priority, _IDLE_LEVELS)
        self.levels = Levels()
        self.count = 0

    def first(self) -> Sequence:
        """Return the next sequence of the best priority, or of a worse one that is due."""
        if self.levels.worse_is_due:
            return min((self.priorities[one].oldest() for one in self.levels.worse()), key=_age)
        return self.priorities[self.levels.best()].first()

    def oldest(self) -> Sequence:
        """Return the sequence that waits longest."""
        return min((one.oldest() for one in self.priorities.used()), key=_age)

    def candidates(self, most: int) -> list[Sequence]:
        """Return up to ``most`` sequences of the best priority: of each user the next first."""
        one = self.priorities[self.levels.best()]
        return _alternate([one.lines[name] for name in one.users.least(most)], most)

    def line(self, sequence: Sequence) -> OrderedDict[Sequence, None]:
        """Return the line that a sequence joins, and count it."""
        self.count += 1
        self.levels.add(sequence.priority)
        priority = self.priorities.use(sequence.priority)
        priority.users.add(sequence.options.user)
        return priority.lines.setdefault(sequence.options.user, OrderedDict())

    def remove(self, sequence: Sequence) -> None:
        """Remove a sequence; a priority with nothing left to wait for rests."""
        self.count -= 1
        priority = self.priorities[sequence.priority]
        line = priority.lines[sequence.options.user]
        del line[sequence]
        if not line:
            del priority.lines[sequence.options.user]
            priority.users.discard(sequence.options.user)
        if not priority.lines:
            self.levels.discard(sequence.priority)
            self.priorities.rest(sequence.priority)


class _Priority:
    """The requests of one priority of one tenant: a line for each user."""

    def __init__(self) -> None:
        self.lines: dict[str, OrderedDict[Sequence, None]] = {}
        self.users = LeastServed(_REMEMBERED_USERS)

    def first(self) -> Sequence:
        """Return the next sequence of the user that was served least."""
        return next(iter(self.lines[self.users.first()]))

    def oldest(self) -> Sequence:
        """Return the sequence that waits longest."""
        return min((next(iter(line)) for line in self.lines.values()), key=_age)


def _alternate(lines: Iterable[Iterable[Sequence]], most: int) -> list[Sequence]:
    """Return up to ``most`` sequences: the first of each line, then the second of each."""
    rounds = itertools.chain.from_iterable(itertools.zip_longest(*lines))
    return list(itertools.islice(filter(None, rounds), most))


def _age(sequence: Sequence) -> int:
    """Return a number that is lower for a sequence that arrived earlier."""
    return sequence.id
