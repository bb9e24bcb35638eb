"""Engine: batches sequences, runs them step by step, and delivers their output."""

from __future__ import annotations

import heapq
import logging
import math
import time
from collections.abc import Callable, Collection
from collections.abc import Sequence as Seq
from dataclasses import asdict
from functools import partial

from ingot.errors import ServeError
from ingot.inference.config import EngineConfig
from ingot.inference.executors.base import Executor, Failure, HiddenStates, ModelInput, Result
from ingot.inference.request.failure import failed_delta, failure_reason
from ingot.inference.request.output import SequenceOutput, StepOutput
from ingot.inference.request.params import RequestOptions, SamplingParams
from ingot.inference.request.sequence import FinishReason, OutputDelta, Sequence, Status
from ingot.inference.request.utf8 import Utf8Tables
from ingot.inference.request.validator import RequestValidator
from ingot.inference.scheduling.admission import Admission
from ingot.inference.scheduling.batch import model_input_for
from ingot.inference.scheduling.cache_events import CacheJournal
from ingot.inference.scheduling.cost_model import CostModel
from ingot.inference.scheduling.draft_worth import DraftWorth
from ingot.inference.scheduling.kv_cache import KVCache
from ingot.inference.scheduling.limits import check_limits
from ingot.inference.scheduling.objectives import Objectives
from ingot.inference.scheduling.scheduler import ScheduledChunk
from ingot.inference.scheduling.service_classes import ServiceClasses, background_blocks
from ingot.inference.scheduling.snapshot import take_snapshot
from ingot.inference.scheduling.speculation import Speculator
from ingot.inference.scheduling.waiting_room import WaitingRoom
from ingot.inference.stats import Counters, EngineStats
from ingot.model.tokenizer import Tokenizer

_log = logging.getLogger(__name__)
_DEFAULT_OPTIONS = RequestOptions()


class Engine:
    """Continuous batching of sequences on one executor. Not thread-safe: see ``EngineLoop``.

    Args:
        executor: Runs the model; the engine owns it and closes it.
        tokenizer: The tokenizer of the model.
        config: Limits; its cache sizes must equal the executor's.
        cost: What its steps cost, as far as known; it learns further.
        keep_cost: Told at the end what was learnt of the costs.
        clock: Seconds that never go back.

    Raises:
        UsageError: limits that contradict each other, the model or the executor.
    """

    def __init__(
        self,
        executor: Executor,
        tokenizer: Tokenizer,
        config: EngineConfig | None = None,
        *,
        cost: CostModel | None = None,
        keep_cost: Callable[[CostModel], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        config = config or EngineConfig()
        check_limits(config, executor)
        self._executor = executor
        self._tokenizer = tokenizer
        self.max_context = config.max_context or executor.config.max_position_embeddings
        """Maximum tokens of prompt plus answer."""
        self.features = executor.features
        self._cache = KVCache(
            executor.num_blocks,
            executor.block_size,
            reuse=config.prefix_cache,
            background_blocks=background_blocks(
                executor.num_blocks, -(-self.max_context // executor.block_size)
            ),
        )
        self._scheduler = ServiceClasses(self._cache, config, self.max_context)
        self.snapshot = partial(take_snapshot, self._scheduler, self._cache)  # between steps only
        self._clock = clock
        self._keep_cost = keep_cost
        self.objectives = Objectives(
            cost or CostModel(),
            max_step_tokens=config.max_step_tokens,
            max_sequences=config.max_sequences,
            clock=clock,
        )
        """What keeps the latency objectives of requests."""
        room = WaitingRoom(config.max_waiting, config.max_waiting_tokens)
        self.admission = Admission(self._scheduler, room, self.objectives.forecast)
        """What refuses sequences before they wait."""
        self._speculator = (
            Speculator(config.speculation, config.max_step_tokens, self._cache)
            if config.speculation
            else None
        )
        self._validator = RequestValidator(tokenizer, self.max_context, self.features)
        self._utf8 = Utf8Tables(tokenizer) if "mask" in executor.features else None
        self._outputs: dict[Sequence, SequenceOutput] = {}
        self._cancelled: set[Sequence] = set()
        self._deadlines: list[tuple[float, int, Sequence]] = []  # a heap
        self._counters = Counters()
        self._failed: str | None = None

    @property
    def has_work(self) -> bool:
        """Whether any sequence is running or waiting that may run now, or has to end."""
        due = self.next_deadline <= time.monotonic()
        return self._scheduler.has_work or bool(self._cancelled) or due

    @property
    def next_deadline(self) -> float:
        """``time.monotonic()`` by which ``step`` must be called though nothing may run."""
        return self._deadlines[0][0] if self._deadlines else math.inf

    @property
    def failed(self) -> str | None:
        """Why the engine stopped permanently; None while it works."""
        return self._failed

    def submit(
        self,
        prompt_ids: Seq[int],
        params: SamplingParams | None,
        on_output: Callable[[OutputDelta], None],
        options: RequestOptions = _DEFAULT_OPTIONS,
        written: Seq[int] = (),
    ) -> Sequence:
        """Queue a request for the following steps. Arguments as for ``prepare``.

        Raises:
            UsageError: a prompt or parameter that cannot be answered.
            QueueFull: the waiting queue is full.
            ServeError: the engine has failed.
        """
        sequence = self.prepare(prompt_ids, params, on_output, options, written)
        self.check_room(sequence)
        self.enqueue(sequence)
        return sequence

    def prepare(
        self,
        prompt_ids: Seq[int],
        params: SamplingParams | None,
        on_output: Callable[[OutputDelta], None],
        options: RequestOptions = _DEFAULT_OPTIONS,
        written: Seq[int] = (),
    ) -> Sequence:
        """Check a request and return its sequence without queueing it. Thread-safe.

        Args:
            prompt_ids: At least one token id, and fewer than the context holds.
            params: How to choose tokens; None requests the mean of the prompt's last hidden
                states instead, delivered in a single delta.
            on_output: Called in ``step`` with each delta of the answer.
            options: How to schedule the request.
            written: First tokens of the answer, which another engine wrote with the same seed.

        Raises:
            UsageError: a prompt or parameter that cannot be answered.
        """
        sequence = self._validator.sequence(prompt_ids, params, on_output, options, written)
        self._scheduler.check_fits(sequence)
        self.objectives.prepare(sequence, self.max_context)
        return sequence

    def check_room(self, sequence: Sequence, arriving: Collection[Sequence] = ()) -> None:
        """Refuse a sequence as ``Admission.check`` does, or if the engine has failed. Thread-safe.

        Raises:
            ServeError: it has; also the errors of ``Admission.check``.
        """
        if self._failed is not None:
            raise ServeError(f"has failed ({self._failed})", where="engine", fix="start it again")
        self.admission.check(sequence, arriving)

    def enqueue(self, sequence: Sequence) -> None:
        """Add a sequence that ``prepare`` made to the waiting queue."""
        try:
            output = SequenceOutput(sequence, self._tokenizer, self.max_context, self._utf8)
        except BaseException as error:
            sequence.status = Status.FINISHED
            self._send(sequence, failed_delta(failure_reason(sequence, error)))
            return
        self._outputs[sequence] = output
        if sequence.timeliness is not None and not self.objectives.active:
            self.objectives.active = True
            self._scheduler.interactive.pace(self.objectives.pacing)
            if self._speculator is not None:
                self._speculator.worth = DraftWorth(self.objectives.pacing)
        self._scheduler.add(sequence)
        if sequence.deadline is not None:
            # Finished sequences stay in the heap until their deadline, which may be a day away;
            # rebuilding it at twice the live size bounds it at amortized constant cost.
            if len(self._deadlines) > 2 * len(self._outputs) + 16:
                self._deadlines = [one for one in self._deadlines if one[2] in self._outputs]
                heapq.heapify(self._deadlines)
            heapq.heappush(self._deadlines, (sequence.deadline, sequence.id, sequence))

    def cancel(self, sequence: Sequence) -> None:
        """End a sequence before the next step; no effect once it has finished."""
        if sequence.status is not Status.FINISHED:
            self._cancelled.add(sequence)

    def cancel_all(self) -> None:
        """End every live sequence before the next step."""
        self._cancelled.update(self._scheduler.live)

    def hold_background(self, on: bool) -> None:
        """Run no background sequence from the next step on, or do so again."""
        self._scheduler.held = on

    def interrupt_background(self, on: bool) -> None:
        """Give up steps of background work, a running one too, until called off. Thread-safe."""
        self._executor.interrupt(on)

    def step(self) -> bool:
        """Run one step of the whole batch.

        A sequence whose values are not finite ends with reason "error"; the others continue.

        Returns:
            Whether any sequence ran or ended.

        Raises:
            Exception: what the executor raised, such as memory that ran out; ``abort`` is then due.
        """
        began = self._clock()
        swept = self._sweep(began)
        chunks = self._scheduler.schedule()
        if self._speculator is not None:
            self._speculator.draft(chunks, self._outputs)
        work = self._chunks(chunks, began)
        if not work:
            return swept or bool(chunks)
        called = self._clock()
        background = work[0][0].sequence.options.background
        run = self._executor.try_step if background else self._executor.step
        results = run([model_input for _, model_input in work])
        returned = self._clock()
        if results is None:
            self._counters.interrupted_steps += 1
            return True
        each_s = (returned - began) / sum([len(model_input.token_ids) for _, model_input in work])
        for (chunk, _), result in zip(work, results, strict=True):
            self._take(chunk, result, returned, each_s)
        ended = self._clock()
        self._count(called - began, returned - called, ended - returned)
        if background:
            self._counters.background_steps += 1
            self._counters.background_step_s += ended - began
        elif self.objectives.active:
            inputs = (model_input for _, model_input in work)
            self.objectives.observe_step(
                inputs, began, returned, more=bool(self._scheduler.interactive.running)
            )
        self._scheduler.charge([chunk for chunk, _ in work], ended - began)
        return True

    def abort(self, reason: str) -> None:
        """Stop permanently: every live sequence ends with reason "error"."""
        self._failed = reason
        for sequence in list(self._scheduler.live):
            self._finish(sequence, "error", error=reason)

    def check_integrity(self) -> None:
        """Verify the cache's accounting of blocks.

        Raises:
            ServeError: a block is lost or miscounted.
        """
        self._cache.check_integrity(self._scheduler.live)

    def watch_cache(self, journal: CacheJournal | None) -> None:
        """Record what the prefix cache stores and evicts; see ``KVCache.watch``."""
        self._cache.watch(journal)

    def weight_digests(self) -> dict[str, str]:
        """Return the SHA-256 of the weights in memory; see ``Executor``. Thread-safe."""
        return self._executor.weight_digests()

    def yield_cpu(self, on: bool) -> None:
        """Leave one CPU to other threads for a moment, or reclaim it; see ``Executor``."""
        self._executor.yield_cpu(on)

    def stats(self) -> EngineStats:
        """Return current load and totals since the start. Thread-safe."""
        waiting, background = self._scheduler.interactive.waiting, self._scheduler.background
        return EngineStats(
            running=len(self._scheduler.interactive.running),
            waiting=len(waiting),
            waiting_tokens=waiting.tokens,
            blocks_free=self._cache.free_blocks,
            blocks_total=self._cache.num_blocks,
            block_size=self._cache.block_size,
            blocks_cached=self._cache.cached_blocks,
            preemptions=self._scheduler.preemptions,
            failed=self._failed,
            background_running=len(background.running),
            background_waiting=len(background.waiting),
            objectives=self.objectives.stats(),
            **asdict(self._counters),
        )

    def close(self) -> None:
        """Release the executor's memory; live sequences must have ended."""
        if self.objectives.active:
            self._keep_cost(self.objectives.pacing.cost)
        self._executor.close()

    def _sweep(self, now: float) -> bool:
        """End sequences that were cancelled or are past their deadline."""
        swept = False
        if self._cancelled:
            cancelled, self._cancelled = self._cancelled, set()
            for sequence in cancelled:
                swept |= self._end(sequence, "cancelled")
        while self._deadlines and self._deadlines[0][0] <= now:
            swept |= self._end(heapq.heappop(self._deadlines)[2], "deadline")
        return swept

    def _end(self, sequence: Sequence, reason: FinishReason) -> bool:
        """End a sequence unless it has ended; return whether it was live."""
        if sequence.status is Status.FINISHED:
            return False
        self._finish(sequence, reason)
        return True

    def _chunks(
        self, chunks: list[ScheduledChunk], now: float
    ) -> list[tuple[ScheduledChunk, ModelInput]]:
        """Build the executor's inputs; a sequence whose input cannot be built ends here."""
        work: list[tuple[ScheduledChunk, ModelInput]] = []
        for chunk in chunks:
            output = self._outputs[chunk.sequence]
            if output.started is None:
                self._note_start(chunk.sequence, output, now)
            try:
                work.append((chunk, model_input_for(chunk, output)))
            except BaseException as error:
                self._finish(chunk.sequence, "error", error=failure_reason(chunk.sequence, error))
        return work

    def _note_start(self, sequence: Sequence, output: SequenceOutput, now: float) -> None:
        output.started = now
        if sequence.may_reuse:
            self._counters.queried_tokens += len(sequence.prompt_ids)
            self._counters.cached_tokens += sequence.cached_tokens or 0

    def _take(self, chunk: ScheduledChunk, result: Result, now: float, each_s: float) -> None:
        """Store the executor's result for a chunk and deliver the output it yields.

        Args:
            chunk: What was computed.
            result: What came of it.
            now: When.
            each_s: Seconds of the step for each of its tokens.
        """
        sequence, output = chunk.sequence, self._outputs[chunk.sequence]
        if isinstance(result, Failure):  # before its blocks can be cached as a prefix
            if chunk.drafts:
                # A draft token may be the cause, which the answer need not contain.
                output.draftless = True
            else:
                self._finish(sequence, "error", error=result.reason)
            return
        first = sequence.computed == 0
        if sequence.computed < len(sequence.prompt_ids):
            self._counters.prefill_tokens += chunk.count
            sequence.prompt_compute_s += each_s * chunk.count
        else:
            sequence.answer_compute_s += each_s * (chunk.count + len(chunk.drafts))
        step_output = None
        try:
            if isinstance(result, HiddenStates):
                last = sequence.computed + chunk.count == sequence.length
                step_output = output.pool(result.states, first=first, last=last)
            elif result is not None:
                step_output = output.take(result, chunk.drafts, now)
        except BaseException as error:
            self._finish(sequence, "error", error=failure_reason(sequence, error))
            return
        if step_output is None:
            self._scheduler.advance(sequence, chunk.count)
            return
        # Before a token that is sampled again stands one that is run again: it counts as not run.
        self._scheduler.advance(
            sequence, chunk.count + step_output.accepted - int(step_output.again)
        )
        if sequence.timeliness is not None and (step_output.delta.token_ids or step_output.reason):
            self.objectives.token(sequence, now)
        self._deliver(chunk, step_output)

    def _deliver(self, chunk: ScheduledChunk, step_output: StepOutput) -> None:
        """Send the output of a step to the sequence's receiver, and finish it if it ended."""
        sequence, counters = chunk.sequence, self._counters
        # The token that ends an answer is not part of it, but was generated too; one that was
        # rejected is not counted.
        counters.generated_tokens += len(step_output.delta.token_ids) or (not step_output.again)
        if chunk.drafts:
            counters.drafted_tokens += len(chunk.drafts)
            counters.accepted_tokens += step_output.accepted
            if self._speculator is not None and self._speculator.worth is not None:
                self._speculator.worth.observe(len(chunk.drafts), step_output.accepted)
        if step_output.again and not step_output.delta.token_ids:
            if step_output.delta.prompt_logprobs:
                self._send(sequence, step_output.delta)
        elif step_output.reason is None:
            self._send(sequence, step_output.delta)
        else:
            self._finish(sequence, step_output.reason, step_output.delta)

    def _finish(
        self,
        sequence: Sequence,
        reason: FinishReason,
        last: OutputDelta | None = None,
        error: str | None = None,
    ) -> None:
        """Free the sequence's blocks, then send its last delta."""
        # Free first: a receiver that looks at the statistics must not see blocks still in use.
        self._scheduler.finish(sequence)
        output = self._outputs.pop(sequence)
        if self.objectives.active:
            self.objectives.end(sequence, reason)
        try:
            delta = output.last_delta(last, reason, self._clock(), error)
        except BaseException as failure:
            delta = failed_delta(error or failure_reason(sequence, failure))
        self._send(sequence, delta)

    def _send(self, sequence: Sequence, delta: OutputDelta) -> None:
        """Call the receiver; if it raises, only its own sequence is cancelled."""
        try:
            sequence.on_output(delta)
        except Exception:
            _log.exception("sequence %d: on_output raised; the sequence is cancelled", sequence.id)
            self.cancel(sequence)

    def _count(self, before_s: float, executor_s: float, after_s: float) -> None:
        counters = self._counters
        counters.steps += 1
        counters.executor_s += executor_s
        counters.last_step_s = before_s + executor_s + after_s
        counters.step_s += counters.last_step_s
