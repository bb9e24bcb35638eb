from __future__ import annotations

import asyncio
import threading

from ingot.server.mailbox import Mailbox


def test_messages_of_many_threads_all_arrive_each_threads_in_order() -> None:
    threads, each = 4, 500

    async def main() -> list[tuple[int, int]]:
        got: list[tuple[int, int]] = []
        complete = asyncio.Event()

        def receive(message: tuple[int, int]) -> None:
            got.append(message)
            if len(got) == threads * each:
                complete.set()

        mailbox = Mailbox(receive)

        def send(thread: int) -> None:
            for number in range(each):
                mailbox.put((thread, number))

        workers = [threading.Thread(target=send, args=(thread,)) for thread in range(threads)]
        for worker in workers:
            worker.start()
        await asyncio.wait_for(complete.wait(), 20)
        for worker in workers:
            worker.join()
        return got

    got = asyncio.run(main())
    for thread in range(threads):
        assert [number for sender, number in got if sender == thread] == list(range(each))


def test_a_message_after_the_loop_has_closed_is_lost_without_a_fault() -> None:
    async def main() -> Mailbox[int]:
        return Mailbox(lambda _: None)

    asyncio.run(main()).put(1)
