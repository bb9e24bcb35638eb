"""How many replicas an engine has."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ingot.errors import UsageError

_MOST = 10_000


@dataclass(frozen=True)
class ReplicaCount:
    """A fixed number of replicas, or a range that autoscaling chooses from."""

    least: int
    most: int


def parse_replicas(text: str) -> ReplicaCount:
    """Return what ``2`` or ``2..20`` says.

    Raises:
        UsageError: it says neither.
    """
    found = re.fullmatch(r"(\d{1,5})(?:\.\.(\d{1,5}))?", text)
    least, most = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
    if not 1 <= least <= most <= _MOST:
        raise UsageError(
            f"{text[:40]!r} is not a number of replicas",
            where="--replicas",
            fix=f"give a number from 1 to {_MOST}, or a range such as 2..20",
        )
    return ReplicaCount(least, most)
