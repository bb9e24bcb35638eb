from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.requests import ClientDisconnect

from ingot.server.http.client import while_connected


def run(work: Any, leaves: bool) -> Any:
    """Run ``work`` for a client that stays or has left."""

    async def receive() -> dict[str, Any]:
        if not leaves:
            await asyncio.Event().wait()
        return {"type": "http.disconnect"}

    return asyncio.run(while_connected(receive, work))


def test_the_result_and_the_error_of_the_work_come_through() -> None:
    async def good() -> int:
        return 3

    async def bad() -> int:
        raise LookupError

    assert run(good(), leaves=False) == 3
    with pytest.raises(LookupError):
        run(bad(), leaves=False)


def test_work_for_a_client_that_left_is_cancelled() -> None:
    cleaned = []

    async def endless() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.append(True)

    with pytest.raises(ClientDisconnect):
        run(endless(), leaves=True)
    assert cleaned
