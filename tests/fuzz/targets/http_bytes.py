"""Bytes on a connection: ``server.http.protocol.GuardedProtocol`` under any cut of them."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Sequence
from random import Random
from typing import Any

import uvicorn
from starlette.requests import Request
from starlette.responses import Response
from uvicorn.server import ServerState

from ingot.errors import UsageError
from ingot.server import ServerConfig
from ingot.server.http.connection_limit import ConnectionLimit
from ingot.server.http.protocol import GuardedProtocol
from ingot.server.http.router import Router
from tests.fuzz.mutate import mutate_bytes

_HEAD = b"POST /echo HTTP/1.1\r\nhost: localhost\r\n"
_OFFER = b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AA\r\n"
_SOUND = (
    b"GET /echo HTTP/1.1\r\nhost: localhost\r\n\r\n",
    b"GET /echo HTTP/1.0\r\n\r\n",
    b"\r\n\r\nGET /echo?a=b%20c#d HTTP/1.1\r\nHost: [::1]:80\r\nx-y: z\r\n\r\n",
    _HEAD + b"content-length: 5\r\n\r\nhello",
    _HEAD + b"transfer-encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nA: b\r\n\r\n",
    _HEAD + b"expect: 100-continue\r\ncontent-length: 2\r\n\r\nhi",
    _HEAD + _OFFER + b"content-length: 2\r\n\r\nhi",
    _HEAD + b"content-length: 2\r\n\r\nhi" + b"GET /echo HTTP/1.1\r\nhost: localhost\r\n\r\n" * 3,
)
_LIMITS = ServerConfig(max_head_bytes=4096, max_body_bytes=65_536)
_MOST_KEPT = 1 << 20  # bytes that a connection may hold, over all that it was sent


def examples() -> Sequence[bytes]:
    return [_cut_every(size, data) for data in _SOUND for size in (1, 7, 1000)]


def make(random: Random) -> bytes:
    data = b"".join(random.choices(_SOUND, k=random.choice((1, 1, 2, 100))))
    data = mutate_bytes(random, data, most=6)
    if random.random() < 0.2:  # something without end
        at = random.randint(0, len(data))
        more = random.choice((b"a", b"A:b\r\n", b"\r\n", b"1\r\nx\r\n", b"0", b"5;a=", b"\x00"))
        data = data[:at] + more * random.choice((100, 10_000, 100_000)) + data[at:]
    return _cut_every(random.choice((1 if len(data) < 10_000 else 1000, 7, 100, 70_000)), data)


def attempt(data: bytes) -> None:
    size, _, rest = data.partition(b"\n")
    received = _loop().run_until_complete(_converse(rest, int(size)))
    if not received:
        raise UsageError("was closed without an answer")
    if not received.startswith((b"HTTP/1.1 2", b"HTTP/1.1 4", b"HTTP/1.1 100")):
        raise AssertionError(received[:500])
    if b"HTTP/1.1 4" in received:
        raise UsageError(received.partition(b"HTTP/1.1 4")[2][:2].decode("latin-1").strip() or "4")


def _cut_every(size: int, data: bytes) -> bytes:
    return b"%d\n" % size + data


class _Transport(asyncio.Transport):
    """A connection in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.closed = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"sockname": ("127.0.0.1", 80), "peername": ("127.0.0.1", 9)}.get(name, default)

    def write(self, data: Any) -> None:
        self.written += data

    def close(self) -> None:
        self.closed = True

    abort = close

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


async def _converse(data: bytes, size: int) -> bytes:
    """Send ``data`` in pieces of ``size``, end the sending side, and return what came back."""
    transport, connections = _Transport(), ConnectionLimit(10)
    state = ServerState()
    protocol = GuardedProtocol(
        _LIMITS, connections, config=_config(), server_state=state, app_state={}
    )
    protocol.connection_made(transport)
    for start in range(0, len(data), size):
        if transport.closed:
            break
        protocol.data_received(data[start : start + size])
        await asyncio.sleep(0)
    if not transport.closed and not protocol.eof_received():
        transport.close()
    for _ in range(1000):  # turns in which answers may be sent
        if transport.closed or not state.tasks:
            break
        await asyncio.sleep(0)
    protocol.connection_lost(None)
    await asyncio.gather(*state.tasks, return_exceptions=True)
    assert len(connections) == 0
    return bytes(transport.written)


@functools.cache
def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


@functools.cache
def _config() -> uvicorn.Config:
    router = Router()

    async def echo(request: Request) -> Response:
        body = bytearray()
        async for piece in request.stream():
            body += piece
            assert len(body) <= _MOST_KEPT
        return Response(bytes(body[:100]))

    router.get("/echo")(echo)
    router.post("/echo")(echo)
    return uvicorn.Config(router, log_config=None, access_log=False, lifespan="off", ws="none")
