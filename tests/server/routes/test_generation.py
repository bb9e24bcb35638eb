from __future__ import annotations

import asyncio

import pytest

from ingot.server.routes.generation import while_connected


def test_work_ends_by_itself() -> None:
    async def main() -> list[str]:
        said: list[str] = []

        async def work() -> None:
            await asyncio.sleep(0)
            said.append("done")

        await while_connected(asyncio.Queue().get, work())
        return said

    assert asyncio.run(main()) == ["done"]


def test_work_is_cancelled_when_the_client_leaves() -> None:
    async def main() -> list[str]:
        said: list[str] = []

        async def work() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                said.append("cleaned up")

        messages: asyncio.Queue[dict[str, object]] = asyncio.Queue()
        messages.put_nowait({"type": "http.request"})
        messages.put_nowait({"type": "http.disconnect"})
        await while_connected(messages.get, work())
        return said

    assert asyncio.run(main()) == ["cleaned up"]


def test_a_fault_of_the_work_comes_through() -> None:
    async def main() -> None:
        async def work() -> None:
            raise LookupError

        await while_connected(asyncio.Queue().get, work())

    with pytest.raises(LookupError):
        asyncio.run(main())
