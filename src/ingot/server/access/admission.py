"""Limits on open requests and tokens, and the ``Retry-After`` of a refusal."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterator

from ingot.server.access.key_shares import KeyShares
from ingot.server.config import ServerConfig
from ingot.server.http.errors import ApiError

_WINDOW_S = 60.0
_LONGEST_WAIT_S = 300
# Of all bodies together, beyond the first part of each. A megabyte takes 3 ms of the event loop, so
# those who send long bodies, only to have them refused, take less than a fifth of it.
_BODY_BYTES_PER_S = 50e6
_S_PER_BODY_BYTE = 5e-9  # with its check, what it says and its refusal
_KEY_SHARE = 0.1  # of one CPU, as ``engine.tenant_share`` by default
_SHARE = 8


class Meter:
    """Rate of an event over the last minute."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._counts: deque[tuple[float, int]] = deque()
        self._sum = 0

    def add(self, count: int) -> None:
        """Count events that have just happened; counts within a second are merged."""
        now = self._clock()
        if self._counts and now - self._counts[-1][0] < 1:
            began, before = self._counts.pop()
            self._counts.append((began, before + count))
        else:
            self._counts.append((now, count))
        self._sum += count
        self._forget(now)

    def per_second(self) -> float:
        """Return the rate; 0 if nothing happened in the window."""
        now = self._clock()
        self._forget(now)
        if not self._counts:
            return 0.0
        return self._sum / max(1.0, now - self._counts[0][0])

    def count(self) -> int:
        """Return how many there were in the window."""
        self._forget(self._clock())
        return self._sum

    def _forget(self, now: float) -> None:
        while self._counts and now - self._counts[0][0] > _WINDOW_S:
            self._sum -= self._counts.popleft()[1]


class Pace:
    """Limit of a rate, shared by all who ask, in the order in which they ask.

    Args:
        per_s: The amount per second.
        clock: Seconds that never go back.
    """

    def __init__(self, per_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_s = per_s
        self._clock = clock
        self._free_at = clock()

    def wait_s(self, count: int) -> float:
        """Take an amount; return the seconds to wait before the next is taken."""
        now = self._clock()
        self._free_at = max(self._free_at, now) + count / self._per_s
        return self._free_at - now


class Room:
    """A bounded amount that keys share, of which no key alone can take all.

    A key that holds something may hold at most ``_SHARE`` times what then remains: alone 8/9 of
    all, so that others find room (the dynamic threshold of A. Choudhury and E. Hahne, "Dynamic
    queue length thresholds", INFOCOM 1996). Requests without a key share with nobody, so only the
    limit counts for them.

    Args:
        limit: The amount there is.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._by_key: dict[str, int] = {}
        self.used = 0
        """What all keys hold."""

    def excess(self, key: str, count: int) -> int:
        """Return by how much ``count`` more is too much for a key; 0 if it fits."""
        free = self._limit - self.used - count
        if free < 0:
            return -free
        own = self._by_key.get(key, 0)
        return max(0, own + count - _SHARE * free) if own and key else 0

    @contextlib.contextmanager
    def hold(self, key: str, count: int) -> Iterator[None]:
        """Hold an amount inside the block."""
        self.add(key, count)
        try:
            yield
        finally:
            self.add(key, -count)

    def add(self, key: str, count: int) -> None:
        """Give a key more, or take back what is below zero."""
        self.used += count
        held = self._by_key.pop(key, 0) + count
        if held:
            self._by_key[key] = held


class Admission:
    """Bounds the open requests and their tokens, in all and for each key.

    Used on the event loop alone.
    """

    def __init__(self, config: ServerConfig, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_tokens = config.max_open_tokens
        self._requests = Room(config.max_open_requests)
        self._tokens = Room(config.max_open_tokens)
        self._body_bytes = Room(config.max_open_body_bytes)
        self._body_pace = Pace(_BODY_BYTES_PER_S, clock)
        self.shares = KeyShares(_KEY_SHARE, clock)
        self._finished = Meter(clock)
        self._done_tokens = Meter(clock)

    @property
    def open_requests(self) -> int:
        """Requests running and waiting."""
        return self._requests.used

    @property
    def open_tokens(self) -> int:
        """Tokens that they may take: their prompts and longest possible answers."""
        return self._tokens.used

    @contextlib.contextmanager
    def request(self, key: str = "") -> Iterator[None]:
        """Hold a request's slot inside the block; cheap enough to precede reading its body.

        Raises:
            ApiError: 429 if too many are open.
        """
        if self._requests.excess(key, 1):
            raise self.retry_after_error(f"{self.open_requests} requests are open already")
        try:
            with self._requests.hold(key, 1):
                yield
        finally:
            self._finished.add(1)

    @contextlib.contextmanager
    def body(self, key: str = "") -> Iterator[Callable[[int], None]]:
        """Hold a request's body inside the block; yields what to call with each part's bytes.

        Raises:
            ApiError: 429 if the bodies of all requests together are too large.
        """
        held = 0

        def add(count: int) -> None:
            nonlocal held
            if self._body_bytes.excess(key, count):
                raise self.retry_after_error(
                    f"{self._body_bytes.used} bytes of bodies are held already"
                )
            held += count
            self._body_bytes.add(key, count)

        try:
            yield add
        finally:
            self._body_bytes.add(key, -held)

    def body_wait_s(self, count: int, key: str) -> float:
        """Take bytes of a key's long body; return the seconds to wait before its next are read.

        Until then they stay in the sender's buffers: reading costs time of the event loop.
        """
        self.shares.charge(key, count * _S_PER_BODY_BYTE)
        return max(self._body_pace.wait_s(count), self.shares.wait_s(key))

    @contextlib.contextmanager
    def tokens(self, count: int, key: str = "") -> Iterator[None]:
        """Reserve the tokens that a request may take inside the block.

        Raises:
            ApiError: 429 if too many are reserved already; 400 if the request alone is too large.
        """
        if count > self._max_tokens:
            raise ApiError(
                400,
                f"prompts and answers may take {count} tokens, at most {self._max_tokens} "
                "go in one request; ask for fewer",
                param="max_tokens",
                code="invalid_value",
            )
        if excess := self._tokens.excess(key, count):
            raise self.retry_after_error(f"{self.open_tokens} tokens are requested already", excess)
        with self._tokens.hold(key, count):
            yield

    def progress(self, tokens: int) -> None:
        """Count prompt and answer tokens that the engine has processed."""
        self._done_tokens.add(tokens)

    def retry_after_error(self, why: str, excess_tokens: int = 0) -> ApiError:
        """Return a 429 whose ``Retry-After`` follows from the measured rates.

        Args:
            why: Which limit is reached.
            excess_tokens: Tokens that must be processed first; 0 waits for one request to end.
        """
        if excess_tokens:
            rate, needed = self._done_tokens.per_second(), float(excess_tokens)
        else:
            rate, needed = self._finished.per_second(), 1.0
        wait = min(_LONGEST_WAIT_S, max(1, -int(-needed // rate))) if rate else 1
        return ApiError(
            429,
            f"{why}; try again in {wait} s",
            code="queue_full",
            headers={"retry-after": str(wait)},
        )
