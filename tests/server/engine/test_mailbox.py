from __future__ import annotations

import asyncio
import threading

from ingot.server.engine.mailbox import Mailbox


def test_messages_of_many_threads_all_arrive_each_threads_in_order() -> None:
    threads, each = 4, 500

    async def main() -> list[tuple[int, int]]:
        got: list[tuple[int, int]] = []
        complete = asyncio.Event()

        def receive(message: tuple[int, int]) -> None:
            got.append(message)
            if len(got) == threads * each:
                complete.set()

        mailbox = Mailbox(receive, lambda _: None)

        def send(thread: int) -> None:
            for number in range(each):
                mailbox.put((thread, number))

        workers = [threading.Thread(target=send, args=(thread,)) for thread in range(threads)]
        for worker in workers:
            worker.start()
        await asyncio.wait_for(complete.wait(), 300)
        for worker in workers:
            worker.join()
        return got

    got = asyncio.run(main())
    for thread in range(threads):
        assert [number for sender, number in got if sender == thread] == list(range(each))


def test_a_message_after_the_loop_has_closed_is_lost_without_a_fault() -> None:
    async def main() -> Mailbox[int]:
        return Mailbox(lambda _: None, lambda _: None)

    asyncio.run(main()).put(1)


def test_way_is_made_from_the_first_message_until_those_who_were_told_have_written() -> None:
    async def main() -> list[str]:
        happened: list[str] = []
        told: asyncio.Queue[int] = asyncio.Queue()

        async def write() -> None:
            while True:
                happened.append(f"wrote {await told.get()}")

        mailbox = Mailbox(told.put_nowait, lambda on: happened.append("way" if on else "done"))
        writer = asyncio.create_task(write())
        for first in (0, 2):
            await asyncio.sleep(0.01)
            mailbox.put(first)
            mailbox.put(first + 1)
            while happened.count("done") < first // 2 + 1:
                await asyncio.sleep(0.001)
        writer.cancel()
        return happened

    first, second = ["way", "wrote 0", "wrote 1", "done"], ["way", "wrote 2", "wrote 3", "done"]
    assert asyncio.run(asyncio.wait_for(main(), 300)) == first + second
