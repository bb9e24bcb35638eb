"""A server on a null engine, which leaves the path from token to socket to be measured.

``python -m benchmarks.null_server INGOT [TOKENS_PER_SECOND]`` prints its address and serves until
SIGTERM. Every sequence gets one token a round, as fast as one thread can hand them out.
"""

from __future__ import annotations

import itertools
import sys
import threading
import time
from collections.abc import Callable
from collections.abc import Sequence as Seq
from concurrent.futures import Future
from pathlib import Path

from ingot.artifact import open_ingot
from ingot.inference import (
    EngineLoop,
    EngineStats,
    OutputDelta,
    RequestOptions,
    SamplingParams,
    Sequence,
    Timing,
)
from ingot.inference.scheduling.snapshot import BatchSnapshot
from ingot.server import Server, ServerConfig

_IDLE = EngineStats(
    running=0,
    waiting=0,
    waiting_tokens=0,
    blocks_free=1,
    blocks_total=1,
    block_size=16,
    blocks_cached=0,
    steps=0,
    step_s=0.0,
    executor_s=0.0,
    last_step_s=0.0,
    prefill_tokens=0,
    generated_tokens=0,
    queried_tokens=0,
    cached_tokens=0,
    drafted_tokens=0,
    accepted_tokens=0,
    preemptions=0,
    failed=None,
)
_EMPTY = BatchSnapshot((), (), 0, 0, 16, 1, 0, 0, 1, ())
_OPTIONS = RequestOptions()
_TOKEN = OutputDelta(" word", (1,))
_LAST = OutputDelta("", (), (), "length", None, (), Timing(0.0, 0.0, 0.0, 0, 0, 0))


class NullLoop(EngineLoop):
    """A stand-in for ``EngineLoop`` that answers every prompt with one word, repeated.

    It derives from it so that mypy holds every method to the signature that the server calls.

    Args:
        tokens_per_second: Most tokens a second of all sequences together; 0 has no limit.
    """

    max_context = 1 << 20
    failed = None

    def __init__(
        self, tokens_per_second: float
    ) -> None:  # not EngineLoop's, which starts an engine
        self._pause = 1 / tokens_per_second if tokens_per_second else 0.0
        self._ids = itertools.count()
        self._live: dict[int, tuple[Sequence, int]] = {}
        self._arrived = threading.Event()
        threading.Thread(target=self._run, daemon=True).start()

    def submit(
        self,
        prompt_ids: Seq[int],
        params: SamplingParams | None,
        on_output: Callable[[OutputDelta], None],
        options: RequestOptions = _OPTIONS,
        written: Seq[int] = (),
    ) -> Sequence:
        """Start a sequence; an embedding and an answer that was begun elsewhere are refused."""
        if written or params is None:
            raise ValueError("the null engine continues no answer and embeds nothing")
        sequence = Sequence(next(self._ids), tuple(prompt_ids), params, 0, on_output, options)
        self._live[sequence.id] = sequence, params.max_tokens
        self._arrived.set()
        return sequence

    def cancel(self, sequence: Sequence) -> None:
        """End a sequence."""
        self._live.pop(sequence.id, None)

    def yield_cpu(self, on: bool) -> None:
        """Do nothing: there is no work to make way for."""

    def stats(self) -> EngineStats:
        """Return the statistics of an idle engine."""
        return _IDLE

    def snapshot(self) -> Future[BatchSnapshot]:
        """Return the snapshot of an idle engine."""
        future = Future[BatchSnapshot]()
        future.set_result(_EMPTY)
        return future

    def _run(self) -> None:
        while self._arrived.wait():
            began = time.perf_counter()
            live = list(self._live.items())
            if not live:
                self._arrived.clear()
            for number, (sequence, left) in live:
                sequence.on_output(_TOKEN if left else _LAST)
                if left and number in self._live:
                    self._live[number] = sequence, left - 1
                else:
                    self._live.pop(number, None)
            time.sleep(max(0.0, began + self._pause * len(live) - time.perf_counter()))


def main() -> None:
    """Serve."""
    rate = float(sys.argv[2]) if len(sys.argv) > 2 else 0.0
    with open_ingot(Path(sys.argv[1])) as ingot:
        loop = NullLoop(rate)
        server = Server(ingot, loop, ServerConfig(port=0))
        server.run(on_ready=lambda: _say(server.url))


def _say(url: str) -> None:
    sys.stdout.write(url + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
