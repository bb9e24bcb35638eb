"""Limits on open requests and tokens, and the ``Retry-After`` of a refusal."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterator

from ingot.server.config import ServerConfig
from ingot.server.http.errors import ApiError

_WINDOW_S = 60.0
_LONGEST_WAIT_S = 300


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

    def _forget(self, now: float) -> None:
        while self._counts and now - self._counts[0][0] > _WINDOW_S:
            self._sum -= self._counts.popleft()[1]


class Admission:
    """Bounds the open requests and their tokens. Used on the event loop alone."""

    def __init__(self, config: ServerConfig, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_requests = config.max_open_requests
        self._max_tokens = config.max_open_tokens
        self._max_body_bytes = config.max_open_body_bytes
        self._requests = 0
        self._tokens = 0
        self._body_bytes = 0
        self._finished = Meter(clock)
        self._done_tokens = Meter(clock)

    @property
    def open_requests(self) -> int:
        """Requests running and waiting."""
        return self._requests

    @property
    def open_tokens(self) -> int:
        """Tokens that they may take: their prompts and longest possible answers."""
        return self._tokens

    @contextlib.contextmanager
    def request(self) -> Iterator[None]:
        """Hold a request's slot inside the block; cheap enough to precede reading its body.

        Raises:
            ApiError: 429 if too many are open.
        """
        if self._requests >= self._max_requests:
            raise self.retry_after_error(f"{self._requests} requests are open already")
        self._requests += 1
        try:
            yield
        finally:
            self._requests -= 1
            self._finished.add(1)

    @contextlib.contextmanager
    def body(self) -> Iterator[Callable[[int], None]]:
        """Hold a request's body inside the block; yields what to call with each part's bytes.

        Raises:
            ApiError: 429 if the bodies of all requests together are too large.
        """
        held = 0

        def add(count: int) -> None:
            nonlocal held
            if self._body_bytes + count > self._max_body_bytes:
                raise self.retry_after_error(f"{self._body_bytes} bytes of bodies are held already")
            held += count
            self._body_bytes += count

        try:
            yield add
        finally:
            self._body_bytes -= held

    @contextlib.contextmanager
    def tokens(self, count: int) -> Iterator[None]:
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
        if (excess := self._tokens + count - self._max_tokens) > 0:
            raise self.retry_after_error(f"{self._tokens} tokens are requested already", excess)
        self._tokens += count
        try:
            yield
        finally:
            self._tokens -= count

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
