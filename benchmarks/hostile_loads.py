"""Loads of hostile clients, each sent from a separate process until it is ended.

``python -m benchmarks.hostile_loads NAME URL MODEL KEY ...`` (run by ``benchmarks.hostile``).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from itertools import count
from urllib.parse import urlsplit

import uvloop

_PIECE = 1 << 16


@dataclass(frozen=True, slots=True)
class Target:
    """Whom a load is sent to, and as whom."""

    url: str
    model: str
    keys: tuple[str, ...]
    """API keys; the first is the attacker's."""

    def post(self, path: str, key: str | None, **fields: object) -> bytes:
        """Return a request as bytes."""
        body = json.dumps({"model": self.model, **fields}, separators=(",", ":")).encode()
        bearer = f"authorization: Bearer {key}\r\n" if key else ""
        head = (
            f"POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{bearer}"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


@dataclass(frozen=True, slots=True)
class Load:
    """Connections that send one request after the other.

    Attributes:
        what: What is sent, for the table.
        connections: How many at once.
        requests: Yields the requests of connection number n, each as pieces to send.
        one_client: Whether one client sends it all, so that the bar applies.
    """

    what: str
    connections: int
    requests: Callable[[Target, int], Iterator[Iterator[bytes]]]
    one_client: bool = True


def _repeated(
    make: Callable[[Target, int, int], bytes],
) -> Callable[..., Iterator[Iterator[bytes]]]:
    """Return requests made by ``make(target, connection, number)``, each sent in one piece."""

    def requests(target: Target, connection: int) -> Iterator[Iterator[bytes]]:
        for number in count():
            yield iter([make(target, connection, number)])

    return requests


def _trailers(target: Target, connection: int) -> Iterator[Iterator[bytes]]:
    """Trailers of a chunked body without end, without a key."""
    del target, connection
    head = b"POST /v1/completions HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n"
    head += b"content-type: application/json\r\n\r\n0\r\n"

    def pieces() -> Iterator[bytes]:
        yield head
        while True:
            yield b"A:b\r\n" * 10_000

    while True:
        yield pieces()


def _pipelined(target: Target, connection: int) -> Iterator[Iterator[bytes]]:
    """Requests sent without waiting for answers, without a key."""
    del target, connection

    def pieces() -> Iterator[bytes]:
        while True:
            yield b"GET /v1/models HTTP/1.1\r\nhost: localhost\r\n\r\n" * 1000

    while True:
        yield pieces()


def _scored(target: Target, connection: int, number: int) -> bytes:
    """Prompts whose log-probabilities are most of a million numbers."""
    prompts = [[(connection + number + n) % 2000] * 700 for n in range(60)]
    fields = {"prompt": prompts, "echo": True, "logprobs": 20, "max_tokens": 0}
    return target.post("/v1/completions", target.keys[0], **fields)


def _stream(target: Target, key: str, **fields: object) -> bytes:
    asked = {"prompt": "def area(", "max_tokens": 200, "ignore_eos": True, "stream": True}
    return target.post("/v1/completions", key, **asked, **fields)


LOADS = {
    "A1": Load("trailers without end, no key", 4, _trailers),
    "A1-pipelined": Load("pipelined requests, no key", 4, _pipelined),
    "A2": Load(
        "40 requests of one key, priority -2^31",
        40,
        _repeated(lambda target, _, n: _stream(target, target.keys[0], priority=-(2**31), seed=n)),
    ),
    "A2-users": Load(
        "40 users of one key",
        40,
        _repeated(lambda target, c, n: _stream(target, target.keys[0], user=f"u{c}", seed=n)),
    ),
    "A2-keys": Load(
        "40 keys, a request each",
        40,
        _repeated(lambda target, c, n: _stream(target, target.keys[c], seed=n)),
        one_client=False,
    ),
    "A3": Load(
        "grammars of gigabytes",
        4,
        _repeated(
            lambda target, c, n: target.post(
                "/v1/completions",
                target.keys[0],
                prompt="a",
                structured_outputs={"regex": f"(a{{20000}}){{{30_000 + 4 * n + c}}}"},
            )
        ),
    ),
    "A4": Load(
        "texts of a megabyte",
        4,
        _repeated(
            lambda target, *_: target.post("/v1/completions", target.keys[0], prompt="a" * 980_000)
        ),
    ),
    "A4-tokenize": Load(
        "texts of a megabyte to /tokenize",
        4,
        _repeated(
            lambda target, *_: target.post("/tokenize", target.keys[0], prompt="a" * 980_000)
        ),
    ),
    "A5": Load("a million log-probabilities", 2, _repeated(_scored)),
    "A6": Load(
        "76,000 control tokens in a message",
        4,
        _repeated(
            lambda target, *_: target.post(
                "/v1/chat/completions",
                target.keys[0],
                messages=[{"role": "user", "content": "<|endoftext|>" * 75_000}],
            )
        ),
    ),
    "A7": Load(
        "a chat template of 16 million characters",
        4,
        _repeated(
            lambda target, *_: target.post(
                "/v1/chat/completions",
                target.keys[0],
                messages=[{"role": "user", "content": "hi"}],
            )
        ),
    ),
    "A8": Load(
        "wrong keys at admin routes",
        16,
        _repeated(lambda target, *_: target.post("/admin/cancel", "wrong", number=1)),
    ),
}


async def _send(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Iterator[bytes]
) -> None:
    """Send one request and read the answer to its end, both at once."""

    async def read() -> None:
        while await reader.read(_PIECE):
            pass

    reading = asyncio.ensure_future(read())
    try:
        for piece in request:
            writer.write(piece)
            await writer.drain()
            if reading.done():
                break
        await reading
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


async def _client(load: Load, target: Target, number: int) -> None:
    address = urlsplit(target.url)
    for request in load.requests(target, number):
        with contextlib.suppress(OSError):  # the server may close at any time, and refuse
            async with _connection(str(address.hostname), address.port or 80) as (reader, writer):
                await _send(reader, writer, request)
        await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def _connection(
    host: str, port: int
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def _all(load: Load, target: Target) -> None:
    await asyncio.gather(*(_client(load, target, n) for n in range(load.connections)))


def main() -> None:
    """Send a load until the process is ended."""
    name, url, model, *keys = sys.argv[1:]
    uvloop.run(_all(LOADS[name], Target(url, model, tuple(keys))))


if __name__ == "__main__":
    main()
