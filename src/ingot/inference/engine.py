"""The engine: one step at a time, from sequences to tokens to text."""

from __future__ import annotations

import heapq
import logging
import time
from collections.abc import Callable
from collections.abc import Sequence as Seq
from dataclasses import asdict

from ingot.errors import ServeError, UsageError
from ingot.inference.config import EngineConfig
from ingot.inference.executors.base import Executor, HiddenStates, ModelInput, Result
from ingot.inference.request.output import SequenceOutput, StepOutput
from ingot.inference.request.params import RequestOptions, SamplingParams
from ingot.inference.request.sequence import FinishReason, OutputDelta, Sequence, Status
from ingot.inference.request.validator import RequestValidator
from ingot.inference.scheduling.batch import model_input_for
from ingot.inference.scheduling.kv_cache import KVCache
from ingot.inference.scheduling.scheduler import ScheduledChunk, Scheduler
from ingot.inference.scheduling.speculation import Speculator
from ingot.inference.stats import Counters, EngineStats
from ingot.model.tokenizer import Tokenizer

_log = logging.getLogger(__name__)
_DEFAULT_OPTIONS = RequestOptions()


class QueueFull(ServeError):  # noqa: N818 (what it says is enough)
    """Too many sequences wait already."""


class Engine:
    """Runs sequences on an executor, many at once. Not thread-safe: see ``EngineLoop``.

    Args:
        executor: Runs the model; belongs to the engine from here on.
        tokenizer: The model's own.
        config: Limits; its cache sizes must be those of the executor.

    Raises:
        UsageError: limits that contradict each other, the model or the executor.
    """

    def __init__(
        self, executor: Executor, tokenizer: Tokenizer, config: EngineConfig | None = None
    ) -> None:
        config = config or EngineConfig()
        _check_limits(config, executor)
        self._executor = executor
        self._tokenizer = tokenizer
        self._max_waiting = config.max_waiting
        self.max_context = config.max_context or executor.config.max_position_embeddings
        """Most tokens of prompt plus answer."""
        self._cache = KVCache(executor.num_blocks, executor.block_size, reuse=config.prefix_cache)
        self._scheduler = Scheduler(
            self._cache,
            max_step_tokens=config.max_step_tokens,
            max_sequences=config.max_sequences,
            max_context=self.max_context,
        )
        self._speculator = (
            Speculator(config.speculation, config.max_step_tokens, self._cache)
            if config.speculation
            else None
        )
        self._validator = RequestValidator(tokenizer, self.max_context, executor.features)
        self._outputs: dict[Sequence, SequenceOutput] = {}
        self._cancelled: set[Sequence] = set()
        self._deadlines: list[tuple[float, int, Sequence]] = []  # a heap
        self._counters = Counters()
        self._failed: str | None = None

    @property
    def has_work(self) -> bool:
        """Whether a step would do anything."""
        return bool(self._scheduler.running or self._scheduler.waiting)

    @property
    def failed(self) -> str | None:
        """Why it has stopped for good; None while it works."""
        return self._failed

    def submit(
        self,
        prompt_ids: Seq[int],
        params: SamplingParams | None,
        on_output: Callable[[OutputDelta], None],
        options: RequestOptions = _DEFAULT_OPTIONS,
    ) -> Sequence:
        """Queue a request; it runs in the steps that follow. Arguments as for ``prepare``.

        Raises:
            UsageError: a prompt or parameter that cannot be answered.
            QueueFull: too many wait already.
            ServeError: the engine has failed.
        """
        sequence = self.prepare(prompt_ids, params, on_output, options)
        self.check_room()
        self.enqueue(sequence)
        return sequence

    def prepare(
        self,
        prompt_ids: Seq[int],
        params: SamplingParams | None,
        on_output: Callable[[OutputDelta], None],
        options: RequestOptions = _DEFAULT_OPTIONS,
    ) -> Sequence:
        """Check a request and return its sequence without queueing it; any thread may.

        Args:
            prompt_ids: At least one token id, and fewer than the context holds.
            params: How to choose tokens; None asks for the mean of the prompt's last hidden
                states instead, which the one delta then holds.
            on_output: Called in ``step`` for each chunk of the answer.
            options: How to schedule it.

        Raises:
            UsageError: a prompt or parameter that cannot be answered.
        """
        sequence = self._validator.sequence(prompt_ids, params, on_output, options)
        self._scheduler.check_fits(sequence)
        return sequence

    def check_room(self, arriving: int = 0) -> None:
        """Refuse another sequence where too many wait already, or none will run; any thread may.

        Args:
            arriving: Sequences that are about to be taken in.

        Raises:
            QueueFull: too many wait.
            ServeError: the engine has failed.
        """
        if self._failed is not None:
            raise ServeError(f"has failed ({self._failed})", where="engine", fix="start it again")
        if len(self._scheduler.waiting) + arriving >= self._max_waiting:
            raise QueueFull(
                f"{self._max_waiting} sequences wait already", where="engine", fix="try again later"
            )

    def enqueue(self, sequence: Sequence) -> None:
        """Take in a sequence that ``prepare`` made."""
        self._outputs[sequence] = SequenceOutput(sequence, self._tokenizer, self.max_context)
        self._scheduler.add(sequence)
        if sequence.deadline is not None:
            if len(self._deadlines) > 2 * len(self._outputs) + 16:
                self._deadlines = [one for one in self._deadlines if one[2] in self._outputs]
                heapq.heapify(self._deadlines)
            heapq.heappush(self._deadlines, (sequence.deadline, sequence.id, sequence))

    def cancel(self, sequence: Sequence) -> None:
        """End a sequence before the next step; one that has finished stays as it is."""
        if sequence.status is not Status.FINISHED:
            self._cancelled.add(sequence)

    def cancel_all(self) -> None:
        """End every live sequence before the next step."""
        self._cancelled.update(self._scheduler.live)

    def step(self) -> bool:
        """Run one step of the whole batch.

        Returns:
            Whether anything was done.

        Raises:
            ServeError: the model gave a value that is not finite; ``abort`` is then due.
        """
        began = time.monotonic()
        swept = self._sweep(began)
        chunks = self._scheduler.schedule()
        if self._speculator is not None:
            self._speculator.draft(chunks, self._outputs)
        work = self._chunks(chunks, began)
        if not work:
            return swept or bool(chunks)
        called = time.monotonic()
        results = self._executor.step([model_input for _, model_input in work])
        returned = time.monotonic()
        for (chunk, _), result in zip(work, results, strict=True):
            self._take(chunk, result, returned)
        self._count(called - began, returned - called, time.monotonic() - returned)
        return True

    def abort(self, reason: str) -> None:
        """Stop for good: every live sequence ends with reason "error"."""
        self._failed = reason
        for sequence in list(self._scheduler.live):
            self._finish(sequence, "error", error=reason)

    def check_integrity(self) -> None:
        """Prove that no block of the cache is lost or miscounted.

        Raises:
            ServeError: one is.
        """
        self._cache.check_integrity(self._scheduler.live)

    def weight_digests(self) -> dict[str, str]:
        """Return the SHA-256 of the weights in memory; see ``Executor``. Any thread may call it."""
        return self._executor.weight_digests()

    def yield_cpu(self, on: bool) -> None:
        """Leave a CPU to other threads for a moment, or take it back; see ``Executor``."""
        self._executor.yield_cpu(on)

    def stats(self) -> EngineStats:
        """Return what the engine is doing now; any thread may."""
        waiting = self._scheduler.waiting
        return EngineStats(
            running=len(self._scheduler.running),
            waiting=len(waiting),
            waiting_tokens=waiting.tokens,
            blocks_free=self._cache.free_blocks,
            blocks_total=self._cache.num_blocks,
            blocks_peak=self._cache.peak_used,
            blocks_cached=self._cache.cached_blocks,
            preemptions=self._scheduler.preemptions,
            failed=self._failed,
            **asdict(self._counters),
        )

    def close(self) -> None:
        """Give back the executor's memory; live sequences must have ended."""
        self._executor.close()

    def _sweep(self, now: float) -> bool:
        """End what was cancelled or is past its deadline."""
        swept = False
        if self._cancelled:
            cancelled, self._cancelled = self._cancelled, set()
            for sequence in cancelled:
                swept |= self._end(sequence, "cancelled")
        while self._deadlines and self._deadlines[0][0] <= now:
            swept |= self._end(heapq.heappop(self._deadlines)[2], "deadline")
        return swept

    def _end(self, sequence: Sequence, reason: FinishReason) -> bool:
        """End a sequence if it has not ended; return whether it had not."""
        if sequence.status is Status.FINISHED:
            return False
        self._finish(sequence, reason)
        return True

    def _chunks(
        self, chunks: list[ScheduledChunk], now: float
    ) -> list[tuple[ScheduledChunk, ModelInput]]:
        """Describe the step to the executor; a sequence that cannot go on ends here."""
        work: list[tuple[ScheduledChunk, ModelInput]] = []
        for chunk in chunks:
            output = self._outputs[chunk.sequence]
            if output.started is None:
                self._note_start(chunk.sequence, output, now)
            try:
                work.append((chunk, model_input_for(chunk, output)))
            except ServeError as error:
                self._finish(chunk.sequence, "error", error=str(error))
        return work

    def _note_start(self, sequence: Sequence, output: SequenceOutput, now: float) -> None:
        output.started = now
        if sequence.may_reuse:
            self._counters.queried_tokens += len(sequence.prompt_ids)
            self._counters.cached_tokens += sequence.cached_tokens or 0

    def _take(self, chunk: ScheduledChunk, result: Result, now: float) -> None:
        """Put away what the executor returned for a chunk, and say what it adds."""
        sequence, output = chunk.sequence, self._outputs[chunk.sequence]
        first = sequence.computed == 0
        if sequence.computed < len(sequence.prompt_ids):
            self._counters.prefill_tokens += chunk.count
        self._scheduler.advance(sequence, chunk.count)
        if result is None:
            return
        try:
            if isinstance(result, HiddenStates):
                last = sequence.computed == sequence.length
                step_output = output.pool(result.states, first=first, last=last)
            else:
                step_output = output.take(result, chunk.drafts, now)
        except ServeError as error:
            self._finish(sequence, "error", error=str(error))
            return
        if step_output is not None:
            self._spread(chunk, step_output)

    def _spread(self, chunk: ScheduledChunk, step_output: StepOutput) -> None:
        """Say what is new, or the last of it."""
        sequence, counters = chunk.sequence, self._counters
        counters.generated_tokens += len(step_output.delta.token_ids) or 1
        if chunk.drafts:
            counters.drafted_tokens += len(chunk.drafts)
            counters.accepted_tokens += step_output.accepted
            self._scheduler.advance(sequence, step_output.accepted)
        if step_output.reason is None:
            self._say(sequence, step_output.delta)
        else:
            self._finish(sequence, step_output.reason, step_output.delta)

    def _finish(
        self,
        sequence: Sequence,
        reason: FinishReason,
        last: OutputDelta | None = None,
        error: str | None = None,
    ) -> None:
        """Free what a sequence holds, then say the last of it."""
        self._scheduler.finish(sequence)
        output = self._outputs.pop(sequence)
        self._say(sequence, output.last_delta(last, reason, time.monotonic(), error))

    def _say(self, sequence: Sequence, delta: OutputDelta) -> None:
        """Hand a delta over; a receiver that raises loses its sequence, and harms no other."""
        try:
            sequence.on_output(delta)
        except Exception:
            _log.exception("sequence %d: its receiver failed, so it is cancelled", sequence.id)
            self.cancel(sequence)

    def _count(self, before_s: float, executor_s: float, after_s: float) -> None:
        counters = self._counters
        counters.steps += 1
        counters.executor_s += executor_s
        counters.last_step_s = before_s + executor_s + after_s
        counters.step_s += counters.last_step_s


def _check_limits(config: EngineConfig, executor: Executor) -> None:
    """Refuse limits that contradict each other, the model or the executor.

    Raises:
        UsageError: they do; ``where`` names one of them.
    """
    if config.max_sequences > config.max_step_tokens:
        raise UsageError(
            f"{config.max_sequences} sequences do not fit in a step of "
            f"{config.max_step_tokens} tokens",
            where="max_sequences",
            fix="lower it, or raise max_step_tokens",
        )
    model_context = executor.config.max_position_embeddings
    if config.max_context is not None and config.max_context > model_context:
        raise UsageError(
            f"{config.max_context} is longer than the model's {model_context}",
            where="max_context",
            fix="lower it",
        )
    for name in ("block_size", "num_blocks"):
        asked, built = getattr(config, name), getattr(executor, name)
        if asked is not None and asked != built:
            raise UsageError(
                f"{asked} is not the executor's {built}",
                where=name,
                fix="build the executor with the same",
            )
    if config.speculation and "verify_rows" not in executor.features:
        raise UsageError(
            "is not supported by this executor",
            where="speculation",
            fix="leave it at 0, or use another executor",
        )
