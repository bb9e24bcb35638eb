"""Prefetching of batches by a thread, so that a training step does not wait for data."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

from ingot.corpus.sampling.sampler import Sampler
from ingot.corpus.store.shards import TokenIds
from ingot.errors import CorpusError

_POLL_SECONDS = 0.1
_STOP_SECONDS = 30.0
_MOST_SECONDS = 600.0  # longer than this, the disk is gone


@dataclass(frozen=True, slots=True)
class _Drawn:
    """One batch and the sampler's state after it."""

    windows: TokenIds
    state: dict[str, int]
    epoch: float


class PrefetchingSampler:
    """A ``Sampler`` whose next batches are drawn by a thread while the current one is used.

    ``state`` and ``epoch`` are those of the batch last returned, not of those
    prefetched, so a run resumes at the exact token. Use it as a context
    manager or call ``close``; it is for one consuming thread.

    Args:
        sampler: Draws the batches; nothing else may use it meanwhile.
        depth: Most batches prefetched.

    Attributes:
        waited: Total seconds that ``next_batch`` waited for a batch.

    Raises:
        ValueError: ``depth`` is below 1.
    """

    def __init__(self, sampler: Sampler, *, depth: int = 2) -> None:
        if depth < 1:
            raise ValueError(f"a depth of {depth}, wanted 1 or more")
        self._sampler = sampler
        self._depth = depth
        self._closed = False
        self.waited = 0.0
        self._begin()

    def next_batch(self) -> TokenIds:
        """Return the next windows, int64, shape (batch, context + 1).

        Raises:
            CorpusError: it was closed, or no batch came for ten minutes.
            Exception: the sampler's error for this batch; further calls raise it again.
        """
        self._check_open()
        started = time.perf_counter()
        drawn = self._take()
        self.waited += time.perf_counter() - started
        if isinstance(drawn, BaseException):
            raise drawn
        self._last_state, self._last_epoch = drawn.state, drawn.epoch
        return drawn.windows

    @property
    def epoch(self) -> float:
        """Passes over the corpus up to the batch last returned."""
        return self._last_epoch

    def state(self) -> dict[str, int]:
        """Return the state to resume after the batch last returned."""
        return dict(self._last_state)

    def restore(self, state: Mapping[str, int]) -> None:
        """Resume from ``state``; prefetched batches are dropped.

        Raises:
            CorpusError: as ``Sampler.restore``, after which it continues as before; or it
                was closed.
        """
        self._check_open()
        self._end()
        try:
            self._sampler.restore(state)
        except CorpusError:
            self._sampler.restore(self._last_state)
            raise
        finally:
            self._begin()

    def close(self) -> None:
        """Stop the thread and wait for its end; closing twice has no effect."""
        if not self._closed:
            self._closed = True
            self._end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check_open(self) -> None:
        if self._closed:
            raise CorpusError("was closed", where="prefetching sampler", fix="create another one")

    def _begin(self) -> None:
        self._last_state, self._last_epoch = self._sampler.state(), self._sampler.epoch
        self._failed: BaseException | None = None
        self._queue: queue.Queue[_Drawn | BaseException] = queue.Queue(self._depth)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._draw, name="prefetch", daemon=True)
        self._thread.start()

    def _end(self) -> None:
        self._stop.set()
        with suppress(queue.Empty):
            self._queue.get_nowait()  # makes room, so that the thread sees the event at once
        self._thread.join(_STOP_SECONDS)
        if self._thread.is_alive():
            raise CorpusError(
                f"is still reading after {_STOP_SECONDS:.0f} seconds",
                where="prefetching sampler",
                fix="check the disk that holds the corpus",
            )

    def _take(self) -> _Drawn | BaseException:
        if self._failed is not None:
            return self._failed
        try:
            drawn = self._queue.get(timeout=_MOST_SECONDS)
        except queue.Empty as error:
            raise CorpusError(
                f"no batch came in {_MOST_SECONDS:.0f} seconds",
                where="prefetching sampler",
                fix="check the disk that holds the corpus",
            ) from error
        if isinstance(drawn, BaseException):
            self._failed = drawn
        return drawn

    def _draw(self) -> None:
        """Run in the thread: draw until told to stop or the sampler fails."""
        drawn: _Drawn | BaseException
        while not self._stop.is_set():
            try:
                windows = self._sampler.next_batch()
                drawn = _Drawn(windows, self._sampler.state(), self._sampler.epoch)
            except BaseException as error:
                drawn = error
            while not self._stop.is_set():
                try:
                    self._queue.put(drawn, timeout=_POLL_SECONDS)
                    break
                except queue.Full:
                    continue
            if isinstance(drawn, BaseException):
                return
