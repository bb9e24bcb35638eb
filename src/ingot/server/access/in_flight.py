"""Requests in flight, and the usage of each key."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ingot.server.access.api_keys import Key
from ingot.server.access.request_context import RequestContext

NOBODY = ""  # the key of requests to a server without keys
_MOST_LISTED = 500


@dataclass(frozen=True)
class InFlightRequest:
    """A request in flight as its owner may see it, without its text."""

    number: int
    """Identifies it while it runs."""
    id: str
    """Its ``x-request-id``, as in the log."""
    model: str
    key: str
    """Name of its API key; empty on a server without keys."""
    streamed: bool
    seconds: float
    """Time since it arrived."""
    prompt_tokens: int
    completion_tokens: int


@dataclass
class KeyUsage:
    """Usage of a key since the server started."""

    key: str
    requests: int = 0
    refused: int = 0
    """Its requests that were answered with 429."""
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True)
class _Entry:
    context: RequestContext
    cancel: Callable[[], None]


class Activity:
    """Registry of the requests that generate, and sum of those that ended.

    A key sees its own requests; one with ``admin``, and every client of a server without
    keys, sees all. Used on the event loop alone.
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
        """Add a request that ended to its key's usage."""
        if context.model is None and context.status != 429:
            return  # it named no model, so it cost nothing
        name = context.key.name if context.key else NOBODY
        use = self._usage.setdefault(name, KeyUsage(name))
        use.requests += 1
        use.refused += context.status == 429
        use.prompt_tokens += context.prompt_tokens
        use.cached_tokens += context.cached_tokens
        use.completion_tokens += context.completion_tokens

    def requests(self, key: Key | None) -> list[InFlightRequest]:
        """Return the requests in flight that ``key`` may see, oldest first, at most 500."""
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
        """Return the usage of the keys that ``key`` may see, by name."""
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
