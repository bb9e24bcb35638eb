"""Output of one request's sequences, handed from the engine's thread to the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from itertools import chain
from typing import Self, TypeVar

from ingot.inference import OutputDelta, RequestLoop, RequestOptions, SamplingParams, Sequence

Receive = Callable[[int, OutputDelta], None]
_Item = TypeVar("_Item")
_LAG_FADES = 0.9
"""Share of a lag that is left after the next delivery."""


class OutputMailbox:
    """Hands an engine's output to receivers on the event loop, in the order it came.

    Waking the event loop costs more than everything else on a token's way, so one wake-up
    serves all output until the loop gets to it: about one for each engine step.

    Args:
        yield_cpu: Called with True before the loop is woken, and with False once the receivers
            have written: an engine that keeps every CPU busy leaves one free meanwhile.
    """

    def __init__(self, yield_cpu: Callable[[bool], None]) -> None:
        self._yield_cpu = yield_cpu
        self._loop = asyncio.get_running_loop()
        self._messages: deque[tuple[Receive, int, OutputDelta]] = deque()
        self._woken = False
        self._woken_at = 0.0
        self.lag_s = 0.0
        """Seconds that output waited for the event loop: the longest of late, fading."""

    def put(self, receive: Receive, index: int, delta: OutputDelta) -> None:
        """Have ``receive(index, delta)`` called on the event loop; any thread may."""
        self._messages.append((receive, index, delta))
        # After appending: a loop that was woken before this clears the mark before it takes.
        if not self._woken:
            self._woken = True
            self._woken_at = time.monotonic()
            self._yield_cpu(True)
            with contextlib.suppress(RuntimeError):  # the loop is closed, so there is no reader
                self._loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        self.lag_s = max(time.monotonic() - self._woken_at, _LAG_FADES * self.lag_s)
        self._woken = False
        while self._messages:
            receive, index, delta = self._messages.popleft()
            receive(index, delta)
        # Receivers run in the loop's next iteration, and sockets are written at its end.
        self._loop.call_soon(self._loop.call_soon, self._yield_cpu, False)


class OutputStream:
    """The sequences of one request and their output that was not taken yet.

    Made and used on the event loop. Leaving the ``with`` block, for whatever
    reason, cancels what still runs, so no way out leaves work behind. What a slow
    reader leaves here is bounded by the request's ``max_tokens``.
    """

    def __init__(
        self, engine: RequestLoop, mailbox: OutputMailbox, options: RequestOptions
    ) -> None:
        self._engine = engine
        self._mailbox = mailbox
        self._options = options
        self._sequences: list[Sequence] = []
        self._finished: set[int] = set()
        self._waiting: dict[int, list[OutputDelta]] = {}
        self._unsent: dict[int, list[OutputDelta]] = {}  # in the engine's thread alone
        self._arrival: asyncio.Future[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
        self._sequences.clear()  # they refer to this object, and so keep the engine's memory

    def end(self) -> None:
        """Cancel the sequences that still run; their last deltas then say "cancelled"."""
        for index, sequence in enumerate(self._sequences):
            if index not in self._finished:
                self._engine.cancel(sequence)

    @property
    def open(self) -> bool:
        """Whether more output is to come."""
        return len(self._finished) < len(self._sequences)

    @property
    def running(self) -> int:
        """Sequences that have not ended."""
        return len(self._sequences) - len(self._finished)

    @property
    def spoken(self) -> bool:
        """Whether output has arrived that was not taken yet."""
        return bool(self._waiting)

    def compute_s(self) -> tuple[float, float]:
        """Return the engine's seconds so far for the prompts, and for the answers."""
        return (
            sum(sequence.prompt_compute_s for sequence in self._sequences),
            sum(sequence.answer_compute_s for sequence in self._sequences),
        )

    def submit(
        self, prompt_ids: list[int], params: SamplingParams | None, written: Iterable[int] = ()
    ) -> None:
        """Start the next sequence; None asks for an embedding.

        Args:
            prompt_ids: Its prompt.
            params: How to choose tokens.
            written: First tokens of its answer, if another engine wrote them.

        Raises:
            IngotError: the engine does not take it.
        """
        receive = partial(self._hand_over, len(self._sequences))
        self._sequences.append(
            self._engine.submit(prompt_ids, params, receive, self._options, tuple(written))
        )

    async def take(self) -> list[tuple[int, OutputDelta]]:
        """Wait for output; return one joined delta for each sequence that has some."""
        if not self._waiting:
            # A plain future: an asyncio.Event creates one too, for every token, at twice the cost.
            self._arrival = asyncio.get_running_loop().create_future()
            await self._arrival
        waiting, self._waiting = self._waiting, {}
        taken = [(index, join(deltas)) for index, deltas in waiting.items()]
        self._finished.update(index for index, delta in taken if delta.finish_reason)
        return taken

    def _hand_over(self, index: int, delta: OutputDelta) -> None:
        """Send a delta to the event loop; runs in the engine's thread.

        Of background work the event loop hears once, at the end of each answer.
        """
        if self._options.background:
            deltas = self._unsent.setdefault(index, [])
            deltas.append(delta)
            if delta.finish_reason is None:
                return
            delta = join(self._unsent.pop(index))
        self._mailbox.put(self._receive, index, delta)

    def _receive(self, index: int, delta: OutputDelta) -> None:
        self._waiting.setdefault(index, []).append(delta)
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)


def join(deltas: list[OutputDelta]) -> OutputDelta:
    """Return consecutive deltas of one sequence as a single one."""
    if len(deltas) == 1:
        return deltas[0]
    return deltas[-1]._replace(
        text="".join(delta.text for delta in deltas),
        token_ids=_joined(delta.token_ids for delta in deltas),
        logprobs=_joined(delta.logprobs for delta in deltas),
        prompt_logprobs=_joined(delta.prompt_logprobs for delta in deltas),
    )


def _joined(parts: Iterable[tuple[_Item, ...]]) -> tuple[_Item, ...]:
    return tuple(chain.from_iterable(parts))
