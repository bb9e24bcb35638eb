"""Limit of the waiting queue."""

from __future__ import annotations

from collections.abc import Collection

from ingot.errors import ServeError
from ingot.inference.request.sequence import Sequence
from ingot.inference.scheduling.fair_queue import FairQueue

_SHARE = 8
"""A tenant alone may fill 8/9 of the queue, two together 16/17."""


class QueueFull(ServeError):  # noqa: N818 (the name is clear without "Error")
    """The waiting queue has reached its limit."""


class WaitingRoom:
    """The places that waiting sequences share.

    A named tenant may hold at most ``_SHARE`` times as many places as are free, so that
    it alone cannot fill the queue and others find a place (the dynamic threshold of
    A. Choudhury and E. Hahne, "Dynamic queue length thresholds", INFOCOM 1996).

    Args:
        max_waiting: Most sequences.
        max_waiting_tokens: Most tokens of all of them.
    """

    def __init__(self, max_waiting: int, max_waiting_tokens: int) -> None:
        self._max_waiting = max_waiting
        self._max_waiting_tokens = max_waiting_tokens

    def check(self, queue: FairQueue, sequence: Sequence, arriving: Collection[Sequence]) -> None:
        """Refuse a sequence that has no place. Thread-safe.

        Args:
            queue: What waits.
            sequence: What is to wait with them.
            arriving: Sequences accepted elsewhere but not in the queue yet.

        Raises:
            QueueFull: the waiting queue is full.
        """
        tenant = sequence.options.tenant
        waiting = len(queue) + len(arriving)
        tokens = queue.tokens + sum(one.length for one in arriving)
        if waiting and tokens + sequence.length > self._max_waiting_tokens:
            raise QueueFull(f"{tokens} tokens wait already", where="engine", fix="try again later")
        own = queue.waiting_of(tenant) + sum(one.options.tenant == tenant for one in arriving)
        free = self._max_waiting - waiting
        if free <= 0 or (tenant and own >= _SHARE * free):
            raise QueueFull(
                f"{waiting} sequences wait already, {own} of them yours",
                where="engine",
                fix="try again later",
            )
