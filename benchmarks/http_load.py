"""A load generator: many concurrent streams from one thread, with the time of each event."""

from __future__ import annotations

import asyncio
import resource
import statistics
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

import httptools
import orjson
import uvloop

_CONNECT_S = 60.0
_Result = TypeVar("_Result")


@dataclass
class Exchange:
    """One request and its response.

    Attributes:
        began: When it was sent, in seconds of ``time.perf_counter``.
        status: HTTP status; 0 where the connection broke before there was one.
        times: When each piece of the body came.
        body: The body, its transfer coding undone.
        ended: When the last of it came.
    """

    began: float
    status: int = 0
    times: list[float] = field(default_factory=list)
    body: bytearray = field(default_factory=bytearray)
    ended: float = 0.0

    @property
    def first_s(self) -> float:
        """Seconds to the first piece of the body."""
        return (self.times[0] if self.times else self.ended) - self.began

    @property
    def seconds(self) -> float:
        """Seconds to the end."""
        return self.ended - self.began

    def events(self) -> list[dict[str, Any]]:
        """Return the streamed events without the final ``[DONE]``."""
        data = [part.removeprefix(b"data: ") for part in bytes(self.body).split(b"\n\n")]
        return [orjson.loads(part) for part in data if part and part != b"[DONE]"]

    @property
    def complete(self) -> bool:
        """Whether the stream ended with ``[DONE]``."""
        return self.status == 200 and self.body.endswith(b"data: [DONE]\n\n")

    @property
    def text(self) -> str:
        """The text of the stream's only choice."""
        return "".join(
            choice["text"] for event in self.events() for choice in event.get("choices", ())
        )

    @property
    def usage(self) -> dict[str, Any]:
        """The usage record; empty unless it was requested."""
        found = [event["usage"] for event in self.events() if event.get("usage")]
        return found[-1] if found else {}


@dataclass(frozen=True)
class Loop:
    """Results of a closed loop on one server, in seconds and per second."""

    clients: int
    tokens: float
    goodput: float
    """Requests that met both objectives."""
    ttft: tuple[float, float]
    """Time to first token: median and 99th percentile, as all that follow."""
    tpot: tuple[float, float]
    """Time per output token after the first."""
    itl: tuple[float, float]
    """Time between events of the stream."""
    failed: int


class _Connection(asyncio.Protocol):
    """One connection: sends a request once it stands, and notes each piece of the answer.

    A protocol, not a stream: no task is woken for a chunk, which leaves more of the machine to
    what is measured.
    """

    def __init__(self, request: bytes, exchange: Exchange) -> None:
        self._request = request
        self._exchange = exchange
        self._parser = httptools.HttpResponseParser(self)
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast("asyncio.Transport", transport).write(self._request)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._end()

    def on_headers_complete(self) -> None:
        self._exchange.status = self._parser.get_status_code()

    def on_body(self, piece: bytes) -> None:
        self._exchange.times.append(time.perf_counter())
        self._exchange.body += piece

    def on_message_complete(self) -> None:
        self._end()

    def _end(self) -> None:
        if not self.done.done():
            self.done.set_result(None)


async def ask(url: str, fields: dict[str, Any], hang_up_s: float | None = None) -> Exchange:
    """Send one completion request over a connection of its own and read all of the answer.

    Args:
        url: Where the server answers.
        fields: The request.
        hang_up_s: Close the connection after so many seconds; None never does.
    """
    address = urlsplit(url)
    exchange = Exchange(time.perf_counter())
    body = orjson.dumps(fields)
    head = (
        f"POST /v1/completions HTTP/1.1\r\nhost: {address.hostname}\r\nconnection: close\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    async with asyncio.timeout(_CONNECT_S):
        transport, connection = await asyncio.get_running_loop().create_connection(
            lambda: _Connection(head.encode() + body, exchange),
            str(address.hostname),
            address.port or 80,
        )
    try:
        await asyncio.wait_for(connection.done, hang_up_s)
    except TimeoutError:
        pass
    finally:
        exchange.ended = time.perf_counter()
        transport.close()
    return exchange


async def all_at_once(url: str, requests: Iterable[dict[str, Any]]) -> list[Exchange]:
    """Send every request at once."""
    return list(await asyncio.gather(*(ask(url, fields) for fields in requests)))


async def closed_loop(
    url: str, clients: int, seconds: float, fields: Callable[[int], dict[str, Any]]
) -> list[Exchange]:
    """Run clients that send the next request once the last is answered; return those that ended.

    Args:
        url: Where the server answers.
        clients: How many there are.
        seconds: How long they ask.
        fields: Makes request number n.
    """
    end = time.perf_counter() + seconds
    done: list[Exchange] = []
    numbers = iter(range(1 << 60))

    async def client() -> None:
        while time.perf_counter() < end:
            done.append(await ask(url, fields(next(numbers))))

    await asyncio.gather(*(client() for _ in range(clients)))
    return done


def run(work: Awaitable[_Result]) -> _Result:
    """Run on uvloop, with as many connections as the system permits."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

    async def main() -> _Result:
        return await work

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main())


def percentile(figures: Sequence[float], percent: int) -> float:
    """Return a percentile of at least one figure."""
    if len(figures) < 2:
        return figures[0]
    return statistics.quantiles(figures, n=100, method="inclusive")[percent - 1]
