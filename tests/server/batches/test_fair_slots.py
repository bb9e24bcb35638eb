from __future__ import annotations

import asyncio
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from ingot.server.batches.fair_slots import FairSlots


def test_the_key_that_holds_the_fewest_is_next() -> None:
    async def held() -> Counter[str]:
        slots, got = FairSlots(6), Counter[str]()

        async def take(key: str) -> None:
            await slots.acquire(key)
            got[key] += 1

        many = [asyncio.create_task(take("many")) for _ in range(20)]
        await asyncio.sleep(0)
        assert got == {"many": 6}
        few = [asyncio.create_task(take("few")) for _ in range(3)]
        await asyncio.sleep(0)
        for _ in range(3):
            slots.release("many")
            await asyncio.sleep(0)
        for task in (*many, *few):
            task.cancel()
        await asyncio.gather(*many, *few, return_exceptions=True)
        return got

    assert asyncio.run(held()) == {"many": 6, "few": 3}


class Users:
    """Tasks that wait for slots, and the slots that they hold."""

    def __init__(self, count: int) -> None:
        self.slots = FairSlots(count)
        self.waiting: list[tuple[str, asyncio.Task[None]]] = []
        self.held: list[str] = []

    async def settle(self) -> None:
        for _ in range(3):
            await asyncio.sleep(0)
        for entry in [one for one in self.waiting if one[1].done()]:
            self.waiting.remove(entry)
            if not entry[1].cancelled():
                self.held.append(entry[0])

    async def take(self, key: str) -> None:
        self.waiting.append((key, asyncio.create_task(self.slots.acquire(key))))

    async def cancel(self, _: str) -> None:
        if self.waiting:
            self.waiting[-1][1].cancel()

    async def free(self, _: str) -> None:
        if self.held:
            self.slots.release(self.held.pop())
            if self.waiting:  # in the same moment in which it may be given the slot
                self.waiting[0][1].cancel()


acts = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["take", "free", "cancel"])))


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 4), acts)
def test_no_slot_is_lost_whatever_is_cancelled(count: int, acts: list[tuple[str, str]]) -> None:
    async def run() -> None:
        users = Users(count)
        for key, act in acts:
            await getattr(users, act)(key)
            await users.settle()
            assert users.slots.held == len(users.held) <= count
            assert not users.waiting or len(users.held) == count, "nobody waits for nothing"
        for _, task in users.waiting:
            task.cancel()
        await users.settle()
        for key in users.held:
            users.slots.release(key)
        for _ in range(count):
            await asyncio.wait_for(users.slots.acquire("d"), 60)

    asyncio.run(run())
