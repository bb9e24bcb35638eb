"""Engine thread, and the thread-safe interface to it."""

from __future__ import annotations

import dataclasses
import logging
import math
import queue
import threading
import time
from collections.abc import Callable, Iterator
from collections.abc import Sequence as Seq
from concurrent.futures import Future

import numpy as np
from numpy.typing import NDArray

from ingot.errors import IngotError, ServeError
from ingot.inference.engine import Engine
from ingot.inference.request.objective import Objective
from ingot.inference.request.params import RequestOptions, SamplingParams
from ingot.inference.request.sequence import OutputDelta, Sequence
from ingot.inference.scheduling.cache_events import CacheCleared, CacheEvent, CacheJournal
from ingot.inference.scheduling.snapshot import BatchSnapshot
from ingot.inference.stats import EngineStats

_log = logging.getLogger(__name__)
PublishCacheEvents = Callable[[list[CacheEvent]], None]
"""Takes what a step changed in the prefix cache; called in the engine's thread, must not block."""
_DEFAULT_OPTIONS = RequestOptions()
_IDLE_CHECK_S = 0.05
"""Idle time before the cache is verified, which takes 10 ms at 1 GB of blocks."""
_JOIN_S = 5.0
"""Time for one last step after a closing loop has cancelled what still runs."""
_GRACE_S = 5.0
"""The engine ends a sequence at its deadline; a caller that waits this much longer gives up."""


class EngineLoop:
    """An engine in a separate thread; every method is thread-safe.

    Args:
        engine: Owned by the loop, which closes it when it ends.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._changed = threading.Condition()
        # Guarded by the condition:
        self._arriving: list[Sequence] = []
        self._to_cancel: list[Sequence] = []
        self._to_watch: list[PublishCacheEvents | None] = []
        self._closing = False
        self._cancel_all = False
        self._idle = False
        """Whether the engine's thread waits for work, so that nothing changes in the engine."""
        self._snapshots: list[Future[BatchSnapshot]] = []
        """To be taken after the step that runs."""
        # Of the thread alone:
        self._journal = CacheJournal()
        self._publish: PublishCacheEvents | None = None
        self._held = False
        self._thread = threading.Thread(target=self._run, name="ingot-engine", daemon=True)
        self._thread.start()

    @property
    def max_context(self) -> int:
        """Maximum tokens of prompt plus answer."""
        return self._engine.max_context

    @property
    def features(self) -> frozenset[str]:
        """What the executor supports, of ``FEATURES``."""
        return self._engine.features

    def submit(
        self,
        prompt_ids: Seq[int],
        params: SamplingParams | None,
        on_output: Callable[[OutputDelta], None],
        options: RequestOptions = _DEFAULT_OPTIONS,
        written: Seq[int] = (),
    ) -> Sequence:
        """Start a request; arguments as for ``Engine.prepare``.

        ``on_output`` is called in the engine's thread and must not block. The last
        delta, and only that one, has a finish reason; every sequence gets one. Where ``params`` is
        None there is one delta, and if its reason is "stop", its ``embedding`` is the
        mean of the prompt's last hidden states: float32 (hidden,), not normalised.

        Raises:
            UsageError: a prompt or parameter that cannot be answered.
            QueueFull: the waiting queue is full.
            NotInTime: it would miss its objective, and may not be late.
            ServeError: the engine has failed or is closing.
        """
        sequence = self._engine.prepare(prompt_ids, params, on_output, options, written)
        with self._changed:
            self._engine.check_room(sequence, self._arriving)
            if self._closing:
                raise ServeError("is closing", where="engine", fix="start another")
            self._arriving.append(sequence)
            if not options.background:
                self._engine.interrupt_background(True)
            self._changed.notify_all()
        return sequence

    def check_in_time(self, objective: Objective, elapsed_s: float) -> None:
        """Refuse a request of which only its objective is known; see ``Admission``.

        Raises:
            NotInTime: even a short one would miss its objective.
        """
        with self._changed:
            self._engine.admission.check_in_time(objective, elapsed_s, self._arriving)

    def cancel(self, sequence: Sequence) -> None:
        """End a sequence before the next step; no effect once it has finished."""
        with self._changed:
            self._to_cancel.append(sequence)
            self._changed.notify_all()

    def hold_background(self, on: bool) -> None:
        """Run no background sequence, nor finish a step of them, until called with False.

        For work that needs the CPUs but is not in the engine, such as another model's.
        """
        with self._changed:
            if on == self._held:
                return
            self._held = on
            if on:
                self._engine.interrupt_background(True)
            self._changed.notify_all()

    def stream(
        self, prompt_ids: Seq[int], params: SamplingParams, timeout: float
    ) -> Iterator[OutputDelta]:
        """Yield an answer as it is generated; closing the iterator early cancels the rest.

        The sequence is submitted when the first delta is requested.

        Args:
            prompt_ids: The prompt.
            params: How to choose tokens.
            timeout: Seconds for the whole answer; then the last delta has the reason "deadline".

        Raises:
            IngotError: as ``submit``; or a ServeError if the engine no longer answers.
        """
        deltas: queue.SimpleQueue[OutputDelta] = queue.SimpleQueue()
        sequence = self.submit(prompt_ids, params, deltas.put, RequestOptions(timeout_s=timeout))
        try:
            yield from _until_last(deltas, time.monotonic() + timeout)
        finally:
            self.cancel(sequence)

    def embed(self, prompt_ids: Seq[int], timeout: float) -> NDArray[np.float32]:
        """Return the mean of a prompt's last hidden states, float32 (hidden,).

        Args:
            prompt_ids: The prompt.
            timeout: Seconds until it is cancelled.

        Raises:
            IngotError: as ``submit``; or a ServeError if it takes longer.
        """
        deltas: queue.SimpleQueue[OutputDelta] = queue.SimpleQueue()
        sequence = self.submit(prompt_ids, None, deltas.put, RequestOptions(timeout_s=timeout))
        try:
            (last,) = _until_last(deltas, time.monotonic() + timeout)
        finally:
            self.cancel(sequence)
        if last.embedding is None:
            raise ServeError(
                last.error or f"ended with reason {last.finish_reason}", where="engine"
            )
        return last.embedding

    def watch_cache(self, publish: PublishCacheEvents | None) -> None:
        """Report what the prefix cache holds, then each change, until the engine ends; None stops.

        The first report begins with ``CacheCleared``, and so does the last one, when the engine
        is closed.
        """
        with self._changed:
            self._to_watch.append(publish)
            self._changed.notify_all()

    def weight_digests(self) -> dict[str, str]:
        """Return the SHA-256 of each of the ingot's tensors, from the memory used to compute.

        Takes as long as reading all weights; the engine continues meanwhile. Empty where the
        executor rounds weights, so that what it holds cannot be compared with the ingot.
        """
        return self._engine.weight_digests()

    def yield_cpu(self, on: bool) -> None:
        """Leave one CPU to other threads for at most a few milliseconds, or reclaim it."""
        self._engine.yield_cpu(on)

    def stats(self) -> EngineStats:
        """Return current load and totals since the start."""
        with self._changed:
            stats = self._engine.stats()
            tokens = sum(sequence.length for sequence in self._arriving)
            return dataclasses.replace(
                stats,
                waiting=stats.waiting + len(self._arriving),
                waiting_tokens=stats.waiting_tokens + tokens,
            )

    def snapshot(self) -> Future[BatchSnapshot]:
        """Return a snapshot of the batch, which is there once the step that runs has ended.

        All that wait for the same step get the same one.

        Raises:
            ServeError: in the future, where the engine ends before.
        """
        future = Future[BatchSnapshot]()
        with self._changed:
            if self._idle:
                future.set_result(self._engine.snapshot())
            elif self._closing:
                future.set_exception(ServeError("is closing", where="engine"))
            else:
                self._snapshots.append(future)
        return future

    def best_objective(self, prompt_tokens: int) -> Objective:
        """Return the best that a request alone gets on an idle machine, as far as known.

        Args:
            prompt_tokens: Length of its prompt.
        """
        return self._engine.objectives.best(prompt_tokens)

    @property
    def failed(self) -> str | None:
        """Why the engine stopped permanently; None while it works."""
        return self._engine.failed

    def close(self, deadline_s: float) -> None:
        """Refuse new sequences, let live ones finish, and end the thread.

        Args:
            deadline_s: Seconds until sequences that still run are cancelled; 0 runs no step more.

        Raises:
            ServeError: the thread hangs in a step.
        """
        with self._changed:
            self._closing = True
            self._cancel_all |= deadline_s <= 0
            self._changed.notify_all()
        self._thread.join(max(deadline_s, 0.0))
        if self._thread.is_alive():
            with self._changed:
                self._cancel_all = True
                self._changed.notify_all()
            self._thread.join(_JOIN_S)
        if self._thread.is_alive():
            raise ServeError(f"did not stop within {_JOIN_S:g} s of its deadline", where="engine")

    def _run(self) -> None:
        """Step while there is work; on an unexpected error, end every sequence and the thread."""
        try:
            while self._receive():
                self._engine.step()
                self._report()
        except BaseException as error:
            _log.exception("the engine failed")
            self._fail(error)
        finally:
            with self._changed:
                self._closing, self._idle = True, False
                asked, self._snapshots = self._snapshots, []
            for future in asked:
                if future.set_running_or_notify_cancel():
                    future.set_exception(ServeError("has ended", where="engine"))
            if self._publish is not None:
                self._publish([CacheCleared()])
            self._engine.close()

    def _receive(self) -> bool:
        """Pass new requests and cancellations to the engine, waiting for some while it is idle.

        Returns:
            Whether to continue; False once closed and idle.
        """
        with self._changed:
            # Verify the cache once per idle period: a fault in its accounting is then reported
            # near its cause, and a busy engine pays nothing.
            check_after_s = _IDLE_CHECK_S
            self._idle = True
            self._answer_snapshots()
            while not (self._arriving or self._to_cancel or self._to_watch or self._has_work()):
                if self._closing:
                    self._idle = False
                    self._engine.check_integrity()
                    return False
                wait_s = min(check_after_s, self._engine.next_deadline - time.monotonic())
                if not self._changed.wait(None if wait_s == math.inf else wait_s):
                    self._engine.check_integrity()
                    check_after_s = math.inf
            self._idle = False
            # With the lock that arrivals take, so that none falls between this and the next step.
            held = self._held and not self._closing
            self._engine.hold_background(held)
            self._engine.interrupt_background(held)
            arrived = len(self._arriving)
            to_cancel, self._to_cancel = self._to_cancel, []
            to_watch, self._to_watch = self._to_watch, []
            cancel_all = self._cancel_all
        # Without the lock: the penalties of a long prompt take a while, and ``submit`` must not
        # wait for them. What is cancelled arrived before, so it is enqueued by then.
        self._admit_arriving(arrived)
        for publish in to_watch:
            self._watch(publish)
        for sequence in to_cancel:
            self._engine.cancel(sequence)
        if cancel_all:
            self._engine.cancel_all()
        return True

    def _answer_snapshots(self) -> None:
        """Answer all that wait for a snapshot; between steps, and with the lock held."""
        asked, self._snapshots = self._snapshots, []
        if not asked:
            return
        snapshot = self._engine.snapshot()
        for future in asked:
            if future.set_running_or_notify_cancel():
                future.set_result(snapshot)

    def _watch(self, publish: PublishCacheEvents | None) -> None:
        """Begin or end the reports of the prefix cache."""
        self._publish, self._journal = publish, CacheJournal()
        self._engine.watch_cache(None if publish is None else self._journal)
        if publish is not None:
            publish([CacheCleared(), *self._journal.take()])

    def _report(self) -> None:
        """Publish what the last step changed in the prefix cache."""
        if self._publish is not None and (events := self._journal.take()):
            self._publish(events)

    def _has_work(self) -> bool:
        """Tell whether the engine has something to do; a closing one finishes what was held."""
        self._engine.hold_background(self._held and not self._closing)
        return self._engine.has_work

    def _admit_arriving(self, count: int) -> None:
        """Enqueue the first sequences that arrived; until then they count as arriving."""
        for _ in range(count):
            self._engine.enqueue(self._arriving[0])
            with self._changed:
                del self._arriving[0]

    def _fail(self, error: BaseException) -> None:
        """End every sequence with an error."""
        kind = "" if isinstance(error, IngotError) else f"{type(error).__name__}: "
        with self._changed:
            # Under one lock, so that a submitted sequence is either ended here or refused.
            self._closing = True
            self._admit_arriving(len(self._arriving))
        self._engine.abort(f"{kind}{error}")


def _until_last(deltas: queue.SimpleQueue[OutputDelta], deadline: float) -> Iterator[OutputDelta]:
    """Yield deltas as they come, up to the last.

    Raises:
        ServeError: the engine did not end the sequence at its deadline.
    """
    while True:
        wait = max(deadline - time.monotonic(), 0.0) + _GRACE_S
        try:
            delta = deltas.get(timeout=wait)
        except queue.Empty:
            raise ServeError(f"did not answer within {wait:g} s", where="engine") from None
        yield delta
        if delta.finish_reason is not None:
            return
