from __future__ import annotations

import asyncio
import threading

from hypothesis import given
from hypothesis import strategies as st

from ingot.inference import OutputDelta, TokenLogprob
from ingot.server.engine.stream import OutputMailbox, join

deltas = st.builds(
    OutputDelta,
    text=st.text(max_size=3),
    token_ids=st.lists(st.integers(0, 9), max_size=3).map(tuple),
    logprobs=st.lists(st.builds(TokenLogprob, st.integers(0, 9), st.just(-1.0), st.just(()))).map(
        tuple
    ),
)


@given(st.lists(deltas, min_size=1, max_size=5), st.sampled_from(["stop", "length", "error"]))
def test_joined_deltas_say_the_same(pieces: list[OutputDelta], reason: str) -> None:
    pieces.append(OutputDelta("", (), finish_reason=reason, error="why"))  # type: ignore[arg-type]
    joined = join(pieces)
    assert joined.text == "".join(piece.text for piece in pieces)
    assert list(joined.token_ids) == [token for piece in pieces for token in piece.token_ids]
    assert list(joined.logprobs) == [entry for piece in pieces for entry in piece.logprobs]
    assert (joined.finish_reason, joined.error) == (reason, "why")


def delta(number: int) -> OutputDelta:
    return OutputDelta("", (number,))


def test_output_of_many_threads_all_arrives_each_threads_in_order() -> None:
    threads, each = 4, 500

    async def main() -> list[tuple[int, int]]:
        got: list[tuple[int, int]] = []
        complete = asyncio.Event()

        def receive(index: int, said: OutputDelta) -> None:
            got.append((index, said.token_ids[0]))
            if len(got) == threads * each:
                complete.set()

        mailbox = OutputMailbox(lambda _: None)

        def send(thread: int) -> None:
            for number in range(each):
                mailbox.put(receive, thread, delta(number))

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


def test_output_after_the_loop_has_closed_is_dropped() -> None:
    async def main() -> OutputMailbox:
        return OutputMailbox(lambda _: None)

    asyncio.run(main()).put(lambda *_: None, 0, delta(1))


def test_a_cpu_is_left_from_the_first_output_until_the_receivers_have_written() -> None:
    async def main() -> list[str]:
        happened: list[str] = []
        told: asyncio.Queue[int] = asyncio.Queue()

        async def write() -> None:
            while True:
                happened.append(f"wrote {await told.get()}")

        def receive(index: int, _: OutputDelta) -> None:
            told.put_nowait(index)

        mailbox = OutputMailbox(lambda on: happened.append("way" if on else "done"))
        writer = asyncio.create_task(write())
        for first in (0, 2):
            await asyncio.sleep(0.01)
            mailbox.put(receive, first, delta(0))
            mailbox.put(receive, first + 1, delta(0))
            while happened.count("done") < first // 2 + 1:
                await asyncio.sleep(0.001)
        writer.cancel()
        return happened

    first, second = ["way", "wrote 0", "wrote 1", "done"], ["way", "wrote 2", "wrote 3", "done"]
    assert asyncio.run(asyncio.wait_for(main(), 300)) == first + second
