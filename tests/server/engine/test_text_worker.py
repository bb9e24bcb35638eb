from __future__ import annotations

import asyncio
import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.requests import ClientDisconnect, Request

from ingot.server.access.key_shares import BURST_S, KeyShares
from ingot.server.engine.text_worker import TextWorker


class Client:
    """A client with an API key, who may leave."""

    def __init__(self, key: str, shares: KeyShares | None = None) -> None:
        self.left = asyncio.Event()
        context = SimpleNamespace(key_name=key, shares=shares)
        scope = {"type": "http", "headers": [], "state": {"context": context}}
        self.request = Request(scope, self._receive)

    async def _receive(self) -> dict[str, Any]:
        await self.left.wait()
        return {"type": "http.disconnect"}


def test_keys_are_served_in_turn() -> None:
    """FAULTS A4: one key with many long texts does not hold up those of another."""
    order: list[str] = []

    async def run() -> None:
        worker, first = TextWorker("texts"), threading.Event()
        begun = [asyncio.ensure_future(worker.run(Client("a").request, first.wait))]
        begun += [
            asyncio.ensure_future(
                worker.run(Client(key).request, lambda key=key: order.append(key))
            )
            for key in ["a"] * 5 + ["b"] * 2
        ]
        await asyncio.sleep(0)
        first.set()
        await asyncio.gather(*begun)
        worker.close()

    asyncio.run(run())
    assert order == ["a", "b", "a", "b", "a", "a", "a"]


def test_work_of_a_client_that_left_is_not_begun() -> None:
    """FAULTS A6: texts of senders who left delay nobody."""
    done: list[str] = []

    async def run() -> None:
        worker, first, client = TextWorker("texts"), threading.Event(), Client("a")
        holding = asyncio.ensure_future(worker.run(Client("a").request, first.wait))
        waiting = asyncio.ensure_future(worker.run(client.request, lambda: done.append("left")))
        staying = asyncio.ensure_future(
            worker.run(Client("a").request, lambda: done.append("stayed"))
        )
        await asyncio.sleep(0)
        client.left.set()
        with pytest.raises(ClientDisconnect):
            await waiting
        first.set()
        await asyncio.gather(holding, staying)
        worker.close()

    asyncio.run(run())
    assert done == ["stayed"]


def test_an_error_comes_through_and_the_next_work_runs() -> None:
    async def run() -> None:
        worker = TextWorker("texts")
        with pytest.raises(ZeroDivisionError):
            await worker.run(Client("a").request, lambda: 1 // 0)
        assert await worker.run(Client("a").request, lambda: 5) == 5
        worker.close()

    asyncio.run(run())


def test_a_key_without_credit_waits_and_pays_for_its_work() -> None:
    """FAULTS A7: the work of a key that has spent its credit lets that of others go first."""
    order: list[str] = []

    def compute(key: str) -> None:
        began = time.thread_time()
        while time.thread_time() < began + 0.02:
            pass
        order.append(key)

    async def run() -> None:
        worker, shares = TextWorker("texts"), KeyShares(0.1)
        with shares.open("greedy"), shares.open("modest"):
            shares.charge("greedy", BURST_S)
            assert shares.wait_s("greedy") == 0
            for key in ("greedy", "modest"):
                await worker.run(Client(key, shares).request, lambda key=key: compute(key))
            assert shares.wait_s("greedy") > 0.1  # the seconds that it computed, over its share
            assert shares.wait_s("modest") == 0
            shares.charge("greedy", 0.1)
            greedy, modest = (
                asyncio.ensure_future(
                    worker.run(Client(key, shares).request, lambda key=key: compute(key))
                )
                for key in ("greedy", "modest")
            )
            await modest
            assert not greedy.done()
        await greedy  # the other key has gone: no credit is needed
        worker.close()

    asyncio.run(run())
    assert order == ["greedy", "modest", "modest", "greedy"]
