from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from ingot.server import ServerConfig
from ingot.server.engine.response_store import ResponseStore, StoredResponse


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def response(number: int, previous: int | None = None, size: int = 10_000) -> StoredResponse:
    before = None if previous is None else f"r{previous}"
    return StoredResponse(f"r{number}", before, b"[]", b"x" * size, (f"i{number}",))


def in_loop(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    def run() -> None:
        asyncio.run(test())

    run.__name__ = test.__name__
    return run


@in_loop
async def test_memory_is_bounded_in_bytes() -> None:
    store = ResponseStore(ServerConfig(response_store_bytes=100_000))
    for number in range(1000):
        store.put("", response(number))
        assert store.size <= 100_000
    assert store.get("", "r999") is not None
    assert store.get("", "r0") is None
    assert store.holder("", "i0") is None
    assert store.holder("", "i999") is not None
    store.put("", response(1000, size=200_000))  # larger than the store: displaces nothing
    assert store.get("", "r1000") is None
    assert store.get("", "r999") is not None


@in_loop
async def test_one_key_cannot_displace_another() -> None:
    store = ResponseStore(ServerConfig(response_store_bytes=100_000))
    store.put("alice", response(0))
    for number in range(1, 1000):
        store.put("bob", response(number))
    assert store.get("alice", "r0") is not None
    assert store.get("bob", "r0") is None


@in_loop
async def test_what_is_used_is_kept_longest() -> None:
    clock = Clock()
    store = ResponseStore(ServerConfig(response_lifetime_s=10), clock)
    store.put("", response(0))
    store.put("", response(1, previous=0))
    store.put("", response(2))
    clock.now = 9
    chain = store.chain("", "r1")
    assert chain is not None
    assert [each.id for each in chain] == ["r0", "r1"]
    clock.now = 18
    assert store.get("", "r2") is None
    assert store.chain("", "r1") is not None
    clock.now = 30
    assert store.chain("", "r1") is None
    assert store.size == 0


@in_loop
async def test_a_chain_that_lost_a_turn_is_no_chain() -> None:
    store = ResponseStore(ServerConfig())
    store.put("", response(0))
    store.put("", response(1, previous=0))
    assert store.delete("", "r0")
    assert not store.delete("", "r0")
    assert store.get("", "r1") is not None
    assert store.chain("", "r1") is None


@in_loop
async def test_old_responses_are_forgotten_although_nothing_is_asked() -> None:
    store = ResponseStore(ServerConfig(response_lifetime_s=0.05))
    store.put("", response(0))
    for _ in range(3000):
        if store.size == 0:
            return
        await asyncio.sleep(0.01)
    pytest.fail("it was kept")
