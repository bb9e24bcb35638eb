"""Duplicates that the first pass left out, for the second to leave out again."""

from __future__ import annotations

from collections.abc import Iterator

from ingot.corpus.build.build_state import BuildState
from ingot.corpus.reading.report import Reason

_AT_ONCE = 1024
_REASONS = (Reason.DUPLICATE, Reason.NEAR_DUPLICATE)


class LeftOut:
    """Numbers of documents that were left out, in reading order, with their reasons.

    They lie in SQLite, and are read back in order, so that memory stays constant.

    Args:
        state: Holds the table.
        after: Documents up to this number are not asked for.
    """

    def __init__(self, state: BuildState, after: int = 0) -> None:
        self._state = state
        state.run(
            "CREATE TABLE IF NOT EXISTS left_out (number INTEGER PRIMARY KEY, reason INTEGER)"
        )
        self._rows = self._in_order(after)
        self._next: tuple[int, int] | None = None

    def add(self, number: int, reason: Reason) -> None:
        """Note that a document is left out."""
        self._state.run("INSERT INTO left_out VALUES (?, ?)", number, _REASONS.index(reason))

    def reason(self, number: int) -> Reason | None:
        """Return why a document was left out, None if it was kept; ask in rising order."""
        while self._next is None or self._next[0] < number:
            self._next = next(self._rows, None) or (1 << 63, 0)
        return _REASONS[self._next[1]] if self._next[0] == number else None

    def _in_order(self, after: int) -> Iterator[tuple[int, int]]:
        query = "SELECT number, reason FROM left_out WHERE number > ? ORDER BY number LIMIT ?"
        while rows := self._state.rows(query, after, _AT_ONCE):
            yield from rows
            after = rows[-1][0]
