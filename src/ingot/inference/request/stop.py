"""Incremental search for stop texts."""

from __future__ import annotations

from collections.abc import Iterable


class StopMatcher:
    """Matches every stop text at once, one character at a time.

    The answer does not depend on how the text is cut into pieces: the first stop
    text that is complete ends it, the longest where several end together.

    Source: Knuth, Morris, Pratt, "Fast pattern matching in strings", 1977. The cost
    of a character does not grow with the length of the stop texts.
    """

    def __init__(self, stops: Iterable[str]) -> None:
        self._stops = sorted(stops, key=len, reverse=True)
        self._fallbacks = [_fallbacks(stop) for stop in self._stops]
        self._matched = [0] * len(self._stops)

    @property
    def pending(self) -> int:
        """Number of last characters that may begin a stop text."""
        return max(self._matched, default=0)

    def feed(self, character: str) -> int:
        """Advance by a character; return the length of the stop text it completes, or 0."""
        found = 0
        for index, stop in enumerate(self._stops):
            matched, fallbacks = self._matched[index], self._fallbacks[index]
            while matched and stop[matched] != character:
                matched = fallbacks[matched]
            matched += stop[matched] == character
            self._matched[index] = matched
            if matched == len(stop):
                found = found or matched
                self._matched[index] = fallbacks[matched]
        return found


def _fallbacks(stop: str) -> list[int]:
    """For each length n, the longest proper prefix of ``stop`` that ``stop[:n]`` ends with."""
    table = [0, 0]
    length = 0
    for character in stop[1:]:
        while length and stop[length] != character:
            length = table[length]
        length += stop[length] == character
        table.append(length)
    return table
