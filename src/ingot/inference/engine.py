"""The engine: one step at a time, from sequences to tokens to text."""

from __future__ import annotations

import itertools
import logging
import secrets
import time
from collections.abc import Callable
from collections.abc import Sequence as Seq
from dataclasses import dataclass

from ingot.errors import ServeError, UsageError
from ingot.inference.config import EngineConfig
from ingot.inference.detokenizer import Detokenizer
from ingot.inference.executors.base import Chunk, Drawn, Executor, SamplingRow
from ingot.inference.kv_cache import KVCache
from ingot.inference.sampling import validate
from ingot.inference.scheduler import Piece, Scheduler
from ingot.inference.sequence import Delta, FinishReason, SamplingParams, Sequence, Status
from ingot.model.tokenizer import Tokenizer

_log = logging.getLogger(__name__)


class QueueFull(ServeError):  # noqa: N818 (what it says is enough)
    """Too many sequences wait already."""


@dataclass(frozen=True)
class EngineStats:
    """What an engine is doing now."""

    running: int
    waiting: int
    blocks_free: int
    blocks_total: int
    blocks_peak: int
    """Most blocks that were in use at once."""
    generated_tokens: int
    """Tokens drawn since the start."""
    failed: str | None
    """Why the engine has stopped for good; None while it works."""


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
        _check_config(config, executor)
        self._executor = executor
        self._tokenizer = tokenizer
        self._max_waiting = config.max_waiting
        self.max_context = config.max_context or executor.config.max_position_embeddings
        """Most tokens of prompt plus answer."""
        self._cache = KVCache(executor.num_blocks, executor.block_size)
        self._scheduler = Scheduler(
            self._cache,
            max_step_tokens=config.max_step_tokens,
            max_sequences=config.max_sequences,
            max_context=self.max_context,
        )
        self._ids = itertools.count()
        self._texts: dict[Sequence, Detokenizer] = {}
        self._cancelled: set[Sequence] = set()
        self._generated = 0
        self._failed: str | None = None

    @property
    def has_work(self) -> bool:
        """Whether a step would do anything."""
        return bool(self._scheduler.running or self._scheduler.waiting)

    def add(
        self,
        prompt_ids: Seq[int],
        params: SamplingParams,
        on_delta: Callable[[Delta], None],
        deadline: float | None = None,
    ) -> Sequence:
        """Take a sequence in; it runs in the steps that follow.

        Args:
            prompt_ids: At least one token id, and fewer than the context holds.
            params: How to choose tokens.
            on_delta: Called in ``step`` for each piece of the answer.
            deadline: ``time.monotonic()`` after which it ends with reason "deadline".

        Raises:
            UsageError: a prompt or parameter that cannot be answered.
            QueueFull: too many wait already.
            ServeError: the engine has failed.
        """
        sequence = self.prepare(prompt_ids, params, on_delta, deadline)
        self.check_room()
        self.enqueue(sequence)
        return sequence

    def prepare(
        self,
        prompt_ids: Seq[int],
        params: SamplingParams,
        on_delta: Callable[[Delta], None],
        deadline: float | None = None,
    ) -> Sequence:
        """Check what ``add`` takes and return the sequence without taking it in; any thread may.

        Raises:
            UsageError: a prompt or parameter that cannot be answered.
        """
        validate(params)
        ids = self._checked_prompt(prompt_ids)
        seed = secrets.randbits(64) if params.seed is None else params.seed
        sequence = Sequence(next(self._ids), ids, params, seed, on_delta, deadline)
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
        self._texts[sequence] = Detokenizer(self._tokenizer, sequence.params.stop)
        self._scheduler.add(sequence)

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
        swept = self._sweep()
        pieces = self._scheduler.schedule()
        if not pieces:
            return swept
        drawn = self._executor.step([_chunk(piece) for piece in pieces])
        for piece, token in zip(pieces, drawn, strict=True):
            piece.sequence.computed += piece.count
            if token is not None:
                self._append(piece.sequence, token)
        return True

    def abort(self, reason: str) -> None:
        """Stop for good: every live sequence ends with reason "error"."""
        self._failed = reason
        for sequence in list(self._scheduler.live):
            self._finish(sequence, "error", error=reason)

    def check_integrity(self) -> None:
        """Prove that no block of the cache is lost or held twice.

        Raises:
            ServeError: one is.
        """
        self._cache.check_integrity(self._scheduler.live)

    def stats(self) -> EngineStats:
        """Return what the engine is doing now; any thread may ask."""
        return EngineStats(
            running=len(self._scheduler.running),
            waiting=len(self._scheduler.waiting),
            blocks_free=self._cache.free_blocks,
            blocks_total=self._cache.num_blocks,
            blocks_peak=self._cache.peak_used,
            generated_tokens=self._generated,
            failed=self._failed,
        )

    def close(self) -> None:
        """Give back the executor's memory and threads."""
        self._executor.close()

    def _checked_prompt(self, prompt_ids: Seq[int]) -> tuple[int, ...]:
        count = len(prompt_ids)
        if not count:
            raise UsageError("is empty", where="prompt", fix="give at least one token")
        if count >= self.max_context:
            raise UsageError(
                f"has {count} tokens, and the context of {self.max_context} must also hold "
                "the answer",
                where="prompt",
                fix="send a shorter one",
            )
        vocabulary = self._tokenizer.vocab_size
        for token_id in prompt_ids:
            if type(token_id) is not int or not 0 <= token_id < vocabulary:
                raise UsageError(
                    f"{str(token_id)[:40]} is not a token id",
                    where="prompt",
                    fix=f"give whole numbers from 0 to {vocabulary - 1}",
                )
        return tuple(prompt_ids)

    def _sweep(self) -> bool:
        """End what was cancelled or is past its deadline."""
        now = time.monotonic()
        cancelled, self._cancelled = self._cancelled, set()
        ended: list[tuple[Sequence, FinishReason]] = []
        for sequence in self._scheduler.live:
            if sequence in cancelled:
                ended.append((sequence, "cancelled"))
            elif sequence.deadline is not None and now >= sequence.deadline:
                ended.append((sequence, "deadline"))
        for sequence, reason in ended:
            self._finish(sequence, reason)
        return bool(ended)

    def _append(self, sequence: Sequence, drawn: Drawn) -> None:
        """Take the token drawn for a sequence and say what it adds to the answer."""
        token_id, params = drawn.token_id, sequence.params
        self._generated += 1
        if token_id == self._tokenizer.eos_id and not params.ignore_eos:
            self._finish(sequence, "stop")
            return
        sequence.output_ids.append(token_id)
        text = self._texts[sequence]
        new = Delta(
            text.push(token_id), (token_id,), () if drawn.logprob is None else (drawn.logprob,)
        )
        if text.stopped:
            self._finish(sequence, "stop", new)
        elif len(sequence.output_ids) == params.max_tokens or sequence.length == self.max_context:
            self._finish(sequence, "length", new)
        else:
            self._say(sequence, new)

    def _finish(
        self,
        sequence: Sequence,
        reason: FinishReason,
        last: Delta | None = None,
        error: str | None = None,
    ) -> None:
        """Free what a sequence holds, then say the last of it."""
        self._scheduler.finish(sequence)
        text = self._texts.pop(sequence)
        last = last or Delta("", ())
        self._say(
            sequence,
            Delta(last.text + text.flush(), last.token_ids, last.logprobs, reason, error),
        )

    def _say(self, sequence: Sequence, delta: Delta) -> None:
        """Hand a delta over; a receiver that raises loses its sequence, and harms no other."""
        try:
            sequence.on_delta(delta)
        except Exception:
            _log.exception("sequence %d: its receiver failed, so it is cancelled", sequence.id)
            self.cancel(sequence)


def _chunk(piece: Piece) -> Chunk:
    """Describe a piece of work to the executor."""
    sequence = piece.sequence
    start, end = sequence.computed, sequence.computed + piece.count
    prompt = len(sequence.prompt_ids)
    if start >= prompt:
        token_ids: Seq[int] = sequence.output_ids[start - prompt : end - prompt]
    else:
        token_ids = [*sequence.prompt_ids[start:end], *sequence.output_ids[: max(end - prompt, 0)]]
    row = None
    if end == sequence.length:
        row = SamplingRow(sequence.params, sequence.seed, end)
    return Chunk(token_ids, start, sequence.block_table, row)


def _check_config(config: EngineConfig, executor: Executor) -> None:
    """Refuse limits that contradict each other, the model or the executor."""
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
