"""Estimate of how many tokens an answer will take, from the past answers of its tenant."""

from __future__ import annotations

import math
from collections import OrderedDict

import numpy as np

_MOST_TENANTS = 256
_PER_DOUBLING = 4
"""Buckets of lengths between a power of two and the next: each is within 19% of its middle."""
_BUCKETS = 32 * _PER_DOUBLING
_MEMORY = 512.0
"""Answers remembered of each tenant; older ones fade as new ones come."""
_TINY = 1e-9
_FEW = 8.0
"""With fewer of its own, a tenant's answers are taken to be like everyone's."""


class AnswerLengths:
    """Histograms of lengths on a logarithmic scale, one for each tenant, and one of all.

    Memory is bounded: 128 counts for each of the 256 tenants that ended an answer last.
    """

    def __init__(self) -> None:
        self._all = _Histogram()
        self._by_tenant: OrderedDict[str, _Histogram] = OrderedDict()

    def observe(self, tenant: str, tokens: int, *, limited: bool) -> None:
        """Count an answer that ended.

        Args:
            tenant: Whose it was.
            tokens: Its length.
            limited: Whether it ended because it may not be longer.
        """
        own = self._by_tenant.pop(tenant, None) or _Histogram()
        self._by_tenant[tenant] = own
        if len(self._by_tenant) > _MOST_TENANTS:
            self._by_tenant.popitem(last=False)
        for histogram in (own, self._all):
            histogram.add(tokens, limited=limited)

    def expected(self, tenant: str, most: int, so_far: int = 0) -> float:
        """Return the mean tokens still to come of an answer of at most ``most``.

        Answers that ended at their limit are taken to say that this one will, too. So does a
        tenant of whom nothing is known.
        """
        return self._of(tenant).expected(most, so_far)

    def quantile(self, tenant: str, most: int, share: float) -> int:
        """Return a length, at most ``most``, that this share of answers does not exceed."""
        return self._of(tenant).quantile(most, share)

    def _of(self, tenant: str) -> _Histogram:
        own = self._by_tenant.get(tenant)
        return self._all if own is None or own.total < _FEW else own


class _Histogram:
    def __init__(self) -> None:
        self._counts = np.zeros(_BUCKETS)
        self._limited = 0.0
        self.total = 0.0

    def add(self, tokens: int, *, limited: bool) -> None:
        if self.total >= _MEMORY:
            self._counts /= 2
            self._limited /= 2
            self.total /= 2
        self.total += 1
        if limited:
            self._limited += 1
        else:
            self._counts[_bucket(tokens)] += 1

    def expected(self, most: int, so_far: int) -> float:
        left = max(most - so_far, 0)
        first = _bucket(so_far) if so_far else 0
        counts = self._counts[first:]
        weight = self._limited + float(counts.sum())
        if not weight:
            return float(left)
        lengths = np.clip(_MIDDLES[first:] - so_far, 1.0, None)
        tokens = self._limited * left + float(counts @ np.minimum(lengths, left))
        return tokens / weight

    def quantile(self, most: int, share: float) -> int:
        if not self.total:
            return most
        reached = np.flatnonzero(np.cumsum(self._counts) >= max(share * self.total, _TINY))
        return most if not len(reached) else min(math.ceil(_MIDDLES[reached[0]]), most)


def _bucket(tokens: int) -> int:
    return min(int(math.log2(max(tokens, 1)) * _PER_DOUBLING + 0.5), _BUCKETS - 1)


_MIDDLES = 2.0 ** (np.arange(_BUCKETS) / _PER_DOUBLING)
