"""What is being answered right now, and how much each key has had answered."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ingot.server.access.api_keys import Key
from ingot.server.access.request_context import RequestContext

NOBODY = ""  # where no key is asked for
_MOST_LISTED = 500


@dataclass(frozen=True)
class InFlightRequest:
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
class KeyUsage:
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
    context: RequestContext
    cancel: Callable[[], None]


class Activity:
    """Knows the requests that generate, and sums up those that are over.

    A key sees its own; one that has ``admin``, or whoever asks where no key is
    asked for, sees all. Used in the event loop's thread alone.
    """

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._in_flight: dict[int, _Entry] = {}
        self._usage: dict[str, KeyUsage] = {}

    @contextmanager
    def track(self, context: RequestContext, cancel: Callable[[], None]) -> Iterator[None]:
        """List a request while it is being answered; ``cancel`` stops it."""
        number = next(self._numbers)
        self._in_flight[number] = _Entry(context, cancel)
        try:
            yield
        finally:
            del self._in_flight[number]

    def count(self, context: RequestContext) -> None:
        """Add a request that is over to what its key has used."""
        if context.model is None and context.status != 429:
            return  # it asked for no model
        name = context.key.name if context.key else NOBODY
        use = self._usage.setdefault(name, KeyUsage(name))
        use.requests += 1
        use.refused += context.status == 429
        use.prompt_tokens += context.prompt_tokens
        use.cached_tokens += context.cached_tokens
        use.completion_tokens += context.completion_tokens

    def requests(self, key: Key | None) -> list[InFlightRequest]:
        """Return what ``key`` may see of the requests in flight, oldest first, at most 500."""
        seen = (
            (n, entry.context) for n, entry in self._in_flight.items() if _may(key, entry.context)
        )
        return [
            InFlightRequest(
                number,
                context.id,
                context.model or "",
                context.key.name if context.key else NOBODY,
                context.streamed,
                context.elapsed_s,
                context.prompt_tokens,
                context.completion_tokens,
            )
            for number, context in itertools.islice(seen, _MOST_LISTED)
        ]

    def usage(self, key: Key | None) -> list[KeyUsage]:
        """Return what ``key`` may see of what keys have used, by name."""
        own = None if key is None or key.admin else key.name
        return [use for name, use in sorted(self._usage.items()) if own in (None, name)]

    def cancel(self, number: int, key: Key | None) -> bool:
        """Cancel a request; return False if ``key`` may see no request of this number."""
        entry = self._in_flight.get(number)
        if entry is None or not _may(key, entry.context):
            return False
        entry.cancel()
        return True


def _may(key: Key | None, context: RequestContext) -> bool:
    return key is None or key.admin or (context.key is not None and context.key.name == key.name)
