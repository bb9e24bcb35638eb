"""What is being answered right now, and how much each key has had answered."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ingot.server.access.api_keys import Key
from ingot.server.access.request_context import Visit

NOBODY = ""  # where no key is asked for
_MOST_LISTED = 500


@dataclass(frozen=True)
class Underway:
    """One request that is being answered, as its owner may see it: no text of it."""

    number: int
    """Names it, for as long as it runs."""
    id: str
    """The request's own id, as in the log."""
    model: str
    key: str
    """The name of the key it came with; empty where none is asked for."""
    streamed: bool
    seconds: float
    """Since it arrived."""
    prompt_tokens: int
    completion_tokens: int


@dataclass
class Use:
    """What a key has used since the server started."""

    key: str
    requests: int = 0
    refused: int = 0
    """Requests of it answered with 429."""
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True)
class _Entry:
    visit: Visit
    cancel: Callable[[], None]


class Activity:
    """Knows the requests that generate, and sums up those that are over.

    A key sees its own; one that has ``admin``, or whoever asks where no key is
    asked for, sees all. Used in the event loop's thread alone.
    """

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._underway: dict[int, _Entry] = {}
        self._use: dict[str, Use] = {}

    @contextmanager
    def underway(self, visit: Visit, cancel: Callable[[], None]) -> Iterator[None]:
        """List a request while it is being answered; ``cancel`` stops it."""
        number = next(self._numbers)
        self._underway[number] = _Entry(visit, cancel)
        try:
            yield
        finally:
            del self._underway[number]

    def count(self, visit: Visit) -> None:
        """Add a request that is over to what its key has used."""
        if visit.model is None and visit.status != 429:
            return  # it asked for no model
        name = visit.key.name if visit.key else NOBODY
        use = self._use.setdefault(name, Use(name))
        use.requests += 1
        use.refused += visit.status == 429
        use.prompt_tokens += visit.prompt_tokens
        use.cached_tokens += visit.cached_tokens
        use.completion_tokens += visit.completion_tokens

    def requests(self, key: Key | None) -> list[Underway]:
        """Return what ``key`` may see of the requests under way, oldest first, at most 500."""
        seen = ((n, entry.visit) for n, entry in self._underway.items() if _may(key, entry.visit))
        return [
            Underway(
                number,
                visit.id,
                visit.model or "",
                visit.key.name if visit.key else NOBODY,
                visit.streamed,
                visit.elapsed_s,
                visit.prompt_tokens,
                visit.completion_tokens,
            )
            for number, visit in itertools.islice(seen, _MOST_LISTED)
        ]

    def use(self, key: Key | None) -> list[Use]:
        """Return what ``key`` may see of what keys have used, by name."""
        own = None if key is None or key.admin else key.name
        return [use for name, use in sorted(self._use.items()) if own in (None, name)]

    def cancel(self, number: int, key: Key | None) -> bool:
        """Cancel a request; return False if ``key`` may see no request of this number."""
        entry = self._underway.get(number)
        if entry is None or not _may(key, entry.visit):
            return False
        entry.cancel()
        return True


def _may(key: Key | None, visit: Visit) -> bool:
    return key is None or key.admin or (visit.key is not None and visit.key.name == key.name)
