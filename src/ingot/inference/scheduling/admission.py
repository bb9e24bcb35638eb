"""Admission of sequences to the waiting queue."""

from __future__ import annotations

from collections.abc import Collection

from ingot.inference.request.objective import Objective
from ingot.inference.request.sequence import Sequence
from ingot.inference.scheduling.forecast import Forecast, Load
from ingot.inference.scheduling.service_classes import ServiceClasses
from ingot.inference.scheduling.waiting_room import WaitingRoom


class Admission:
    """Refuses sequences for which there is no place or no time. Thread-safe.

    Args:
        classes: The schedulers.
        room: Limit of each one's queue.
        forecast: When a first token would come.
    """

    def __init__(self, classes: ServiceClasses, room: WaitingRoom, forecast: Forecast) -> None:
        self._classes = classes
        self._room = room
        self._forecast = forecast

    def check(self, sequence: Sequence, arriving: Collection[Sequence]) -> None:
        """Refuse a sequence if its queue is full, or it would miss its objective.

        Args:
            sequence: It.
            arriving: Sequences accepted elsewhere but not in a queue yet.

        Raises:
            QueueFull: the waiting queue is full.
            NotInTime: it would miss its objective, and may not be late.
        """
        background = sequence.options.background
        same = [one for one in arriving if one.options.background == background]
        self._room.check(self._classes.of(sequence).waiting, sequence, same)
        if sequence.timeliness is not None:
            self._forecast.accept(sequence, self._load(same))

    def check_in_time(
        self, objective: Objective, elapsed_s: float, arriving: Collection[Sequence]
    ) -> None:
        """Refuse a request of which only its objective is known, if even a short one would be late.

        Raises:
            NotInTime: it would miss its objective.
        """
        self._forecast.refuse_early(objective, elapsed_s, self._load(arriving))

    def _load(self, arriving: Collection[Sequence]) -> Load:
        interactive = self._classes.interactive
        due = [one for one in arriving if one.timeliness and not one.timeliness.given_up]
        return Load(
            list(interactive.running),
            interactive.waiting.due + len(due),
            interactive.waiting.due_tokens + sum(one.length for one in due),
        )
