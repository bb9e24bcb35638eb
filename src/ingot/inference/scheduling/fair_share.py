"""Choice of the running sequences that give way to others.

Running sequences are ranked within their tenant, by priority and then by admission. Across
tenants the rank decides first, so each tenant's best sequence comes before any tenant's second
one: the tenant that runs most gives way first. Admissions are numbered once and for all, so a
sequence gives way only to those before it, which end, and none is preempted forever.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from collections.abc import Sequence as Seq

from ingot.inference.request.sequence import Sequence

_LEAD = 256
"""Service, such as 128 generated tokens, that a preemption must be worth."""


def worst(running: Iterable[Sequence]) -> Sequence:
    """Return the sequence to preempt if memory runs out."""
    return _ranked(running)[-1]


def preemptible(
    first: Sequence, running: Seq[Sequence], served: Callable[[Sequence], float]
) -> list[Sequence]:
    """Return the sequences that a waiting one may replace, in the order to preempt them.

    These are sequences of tenants that the operator ranks lower, of its own tenant with a
    worse priority, and of tenants that run more than their share: at least two more than its
    own, so that the replaced tenant is not entitled to the same in turn, and ``_LEAD`` ahead of
    it in service, so that tenants served equally do not replace each other at every turn.

    Args:
        first: The sequence whose turn it is.
        running: All running sequences.
        served: Returns the service that a sequence's tenant received.
    """
    counts = Counter(one.options.tenant for one in running)
    own = counts[first.options.tenant]
    if max(counts.values(), default=0) < own + 2 and not any(is_urgent(first, o) for o in running):
        return []  # most steps: ranking would cost as much as the rest of the schedule
    found: list[Sequence] = []
    for one in reversed(_ranked(running)):
        tenant = one.options.tenant
        over_share = (
            tenant != first.options.tenant
            and one.tenant_priority == first.tenant_priority
            and counts[tenant] >= own + 2
            and served(one) >= served(first) + _LEAD
        )
        if over_share or is_urgent(first, one):
            found.append(one)
            counts[tenant] -= 1
    return found


def is_urgent(first: Sequence, other: Sequence) -> bool:
    """Return whether a sequence comes before another by priority."""
    if first.options.tenant == other.options.tenant:
        return first.priority < other.priority
    return first.tenant_priority < other.tenant_priority


def _ranked(running: Iterable[Sequence]) -> list[Sequence]:
    """Return running sequences from the best to the worst."""
    ranks: Counter[str] = Counter()
    order: list[tuple[int, int, int, Sequence]] = []
    for one in sorted(running, key=_within_tenant):
        tenant = one.options.tenant
        order.append((one.tenant_priority, ranks[tenant], one.admission or 0, one))
        ranks[tenant] += 1
    return [entry[-1] for entry in sorted(order, key=lambda entry: entry[:-1])]


def _within_tenant(sequence: Sequence) -> tuple[int, int]:
    return sequence.priority, sequence.admission or 0
