"""Engines on other machines, as the server sees one: sequences that outlive their replica."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable
from collections.abc import Sequence as Seq
from concurrent.futures import Future
from dataclasses import fields, replace
from typing import NoReturn, Protocol

from ingot.cluster.serving.messages import (
    EngineDescription,
    EngineOutput,
    EngineRequest,
    routing_text,
)
from ingot.errors import IngotError, ServeError, UsageError
from ingot.inference import (
    BatchSnapshot,
    EngineStats,
    Objective,
    OutputDelta,
    QueueFull,
    RequestOptions,
    SamplingParams,
    Sequence,
)
from ingot.inference.request.grammar_sequences import FollowedGrammar
from ingot.inference.request.validator import RequestValidator
from ingot.inference.scheduling.cache_events import CacheEvent
from ingot.model.tokenizer import Tokenizer

_log = logging.getLogger(__name__)
_DEFAULT_OPTIONS = RequestOptions()
_MOST_LOSSES = 8
"""Replicas that may be lost in turn without one more token: the request may be what ends them."""
_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 2.0
_STATS_EVERY_S = 1.0
_DIGESTS_S = 120.0


class ReplicaLost(Exception):  # noqa: N818 (not an error: another replica continues)
    """The replica that answered a sequence is gone, or its engine has failed."""


class Replicas(Protocol):
    """The replicas of one engine, whatever connects them. Used on the event loop."""

    def answer(self, request: EngineRequest) -> AsyncIterator[EngineOutput]:
        """Yield a sequence's output; closing it early cancels the sequence.

        Raises:
            ReplicaLost: the replica is gone.
            IngotError: the engine refuses the sequence.
        """

    async def stats(self) -> list[EngineStats]:
        """Return the load of each replica."""

    async def weight_digests(self) -> list[dict[str, str]]:
        """Return the digests of each replica's weights in memory."""

    def close(self, deadline_s: float) -> None:
        """Stop the replicas; any thread may."""


class ReplicatedLoop:
    """Answers sequences on replicas of an engine; in place of an ``EngineLoop``.

    A sequence whose replica is lost continues on another from the tokens delivered so far: the
    same prompt, seed and position give the same tokens on every replica, whatever else it runs.

    Made on the event loop, and used there alone, except for ``close`` and ``weight_digests``.

    Args:
        replicas: The replicas.
        tokenizer: The tokenizer of the model.
        description: What requests are checked against.
        most_open: Most sequences open at once; further ones are refused.
    """

    def __init__(
        self,
        replicas: Replicas,
        tokenizer: Tokenizer,
        description: EngineDescription,
        most_open: int,
    ) -> None:
        self._replicas = replicas
        self._description = description
        self._most_open = most_open
        self._validator = RequestValidator(tokenizer, description.max_context, description.features)
        self._loop = asyncio.get_running_loop()
        self._answering: dict[Sequence, asyncio.Task[None]] = {}
        self._closing = False
        self._known: list[EngineStats] = []
        self._watching = self._loop.create_task(self._watch_stats())
        self.continued = 0
        """How often a sequence was continued after its replica was lost."""

    @property
    def max_context(self) -> int:
        """Maximum tokens of prompt plus answer."""
        return self._description.max_context

    @property
    def failed(self) -> str | None:
        """None: replicas that fail are started again."""
        return None

    def submit(
        self,
        prompt_ids: Seq[int],
        params: SamplingParams | None,
        on_output: Callable[[OutputDelta], None],
        options: RequestOptions = _DEFAULT_OPTIONS,
        written: Seq[int] = (),
    ) -> Sequence:
        """Start a request; see ``EngineLoop.submit``.

        Raises:
            UsageError: a prompt or parameter that cannot be answered.
            QueueFull: as many sequences are open as may be.
            ServeError: it is closing.
        """
        if options.objective is not None:
            self._refuse_objective()
        sequence = self._validator.sequence(prompt_ids, params, on_output, options, written)
        self._check_fits(sequence)
        if self._closing:
            raise ServeError("are closing", where="replicas", fix="send it again")
        if len(self._answering) >= self._most_open:
            raise QueueFull(
                f"{len(self._answering)} sequences are open already",
                where="replicas",
                fix="try again later",
            )
        task = self._loop.create_task(self._answer(sequence))
        self._answering[sequence] = task
        task.add_done_callback(lambda _: self._answering.pop(sequence, None))
        return sequence

    def cancel(self, sequence: Sequence) -> None:
        """End a sequence; no effect once it has finished."""
        if (task := self._answering.get(sequence)) is not None:
            task.cancel()

    def check_in_time(self, objective: Objective, elapsed_s: float) -> None:
        """Refuse it: replicas keep no objectives.

        Raises:
            UsageError: always.
        """
        del objective, elapsed_s
        self._refuse_objective()

    def hold_background(self, on: bool) -> None:
        """Do nothing: replicas run no background work."""

    def watch_cache(self, publish: Callable[[list[CacheEvent]], None] | None) -> None:
        """Report nothing: the replicas' caches are their own."""

    def yield_cpu(self, on: bool) -> None:
        """Do nothing: the engines run elsewhere."""

    def weight_digests(self) -> dict[str, str]:
        """Return the digests of the weights in memory, which must be the same in all replicas.

        Raises:
            ServeError: they differ, or the replicas do not answer.
        """
        asked = asyncio.run_coroutine_threadsafe(self._replicas.weight_digests(), self._loop)
        try:
            first, *others = asked.result(_DIGESTS_S)
        except TimeoutError as error:
            raise ServeError(f"did not answer within {_DIGESTS_S:g} s", where="replicas") from error
        for other in others:
            if other != first:
                raise ServeError("hold different weights", where="replicas", fix="restart them")
        return first

    def stats(self) -> EngineStats:
        """Return the sums over the replicas, as they were at most some seconds ago."""
        return _sum(self._known)

    def snapshot(self) -> Future[BatchSnapshot]:
        """Return a future with an error: the batches of replicas are not shown."""
        future = Future[BatchSnapshot]()
        future.set_exception(ServeError("show no batches", where="replicas"))
        return future

    def close(self, deadline_s: float) -> None:
        """Refuse new sequences, let live ones finish, and stop the replicas.

        Called from another thread than the event loop's.
        """
        self._closing = True
        until = time.monotonic() + deadline_s
        while self._answering and time.monotonic() < until:
            time.sleep(_FIRST_PAUSE_S)
        self._loop.call_soon_threadsafe(self._end)
        self._replicas.close(deadline_s)

    def _end(self) -> None:
        self._watching.cancel()
        for task in list(self._answering.values()):
            task.cancel()

    def _refuse_objective(self) -> NoReturn:
        raise UsageError(
            "is not kept by replicas on a cluster", where="objective", fix="leave it out"
        )

    def _check_fits(self, sequence: Sequence) -> None:
        """Refuse what would not fit into the cache of one replica."""
        known = self._description
        longest = min(len(sequence.prompt_ids) + sequence.params.max_tokens, known.max_context)
        needed = -(-(longest - 1) // known.block_size)
        if needed > known.cache_blocks:
            raise UsageError(
                f"{longest} tokens of prompt and answer need {needed} cache blocks of "
                f"{known.block_size}, a replica has {known.cache_blocks}",
                where="prompt",
                fix="lower max_tokens, or give the engine a larger key-value cache",
            )

    async def _answer(self, sequence: Sequence) -> None:
        """Answer a sequence, on as many replicas as it takes; its last delta always comes."""
        try:
            await self._answer_on_replicas(sequence)
        except asyncio.CancelledError:
            sequence.on_output(OutputDelta("", (), finish_reason="cancelled"))
        except IngotError as error:
            sequence.on_output(OutputDelta("", (), finish_reason="error", error=str(error)))
        except Exception as error:
            _log.exception("a sequence failed")
            reason = f"{type(error).__name__}: {error}"
            sequence.on_output(OutputDelta("", (), finish_reason="error", error=reason))

    async def _answer_on_replicas(self, sequence: Sequence) -> None:
        began, losses, pause_s = time.monotonic(), 0, _FIRST_PAUSE_S
        while True:
            before = sequence.length
            try:
                await self._attempt(sequence, began)
                return
            except ReplicaLost as lost:
                losses = 0 if sequence.length > before else losses + 1
                pause_s = _FIRST_PAUSE_S if not losses else min(2 * pause_s, _LONGEST_PAUSE_S)
                if losses >= _MOST_LOSSES:
                    raise ServeError(
                        f"{losses} replicas were lost in turn without one more token ({lost})",
                        where="replicas",
                        fix="see the logs of the replicas",
                    ) from lost
                self.continued += 1
                _log.warning(
                    "a replica was lost after %d tokens of an answer, which continues: %s",
                    len(sequence.output_ids), lost,
                )  # fmt: skip
            await asyncio.sleep(pause_s)

    async def _attempt(self, sequence: Sequence, began: float) -> None:
        """Send a sequence to a replica, from the tokens delivered so far; deliver what comes.

        Raises:
            ReplicaLost: before the answer ended.
        """
        earlier_s = time.monotonic() - began if sequence.output_ids else 0.0
        spent = sequence.prompt_compute_s, sequence.answer_compute_s
        request = _request_for(sequence)
        async with contextlib.aclosing(self._replicas.answer(request)) as outputs:  # type: ignore[type-var]
            async for output, prompt_s, answer_s in outputs:
                delta = _with_time(output, earlier_s)
                sequence.prompt_compute_s = spent[0] + prompt_s
                sequence.answer_compute_s = spent[1] + answer_s
                for token_id in delta.token_ids:
                    sequence.append(token_id)
                sequence.on_output(delta)
                if delta.finish_reason is not None:
                    return
        raise ReplicaLost("its stream ended early")

    async def _watch_stats(self) -> None:
        """Ask the replicas for their load, again and again."""
        while True:
            try:
                async with asyncio.timeout(10 * _STATS_EVERY_S):
                    self._known = await self._replicas.stats()
            except (ReplicaLost, TimeoutError, IngotError) as error:
                _log.debug("no figures of the replicas: %s", error)
            await asyncio.sleep(_STATS_EVERY_S)


def _with_time(delta: OutputDelta, earlier_s: float) -> OutputDelta:
    """Return a delta whose timing includes the time that the answer took on earlier replicas."""
    if delta.timing is None or not earlier_s:
        return delta
    timing = replace(delta.timing, decode_s=delta.timing.decode_s + earlier_s)
    return delta._replace(timing=timing)


def _request_for(sequence: Sequence) -> EngineRequest:
    """Return the request that begins a sequence, or continues it after its tokens so far."""
    options = sequence.options
    if sequence.deadline is not None:
        left = max(sequence.deadline - time.monotonic(), 0.001)
        options = replace(options, timeout_s=left)
    written = tuple(sequence.output_ids)
    params, grammar = None, None
    if not sequence.pooling:
        grammar = sequence.params.grammar
        params = replace(sequence.params, seed=sequence.seed, grammar=None)
        if written:
            params = replace(params, prompt_logprobs=None)
    return EngineRequest(
        prompt=routing_text(sequence.prompt_ids, options),
        prompt_ids=sequence.prompt_ids,
        params=params,
        options=options,
        grammar=grammar.source if isinstance(grammar, FollowedGrammar) else None,
        written=written,
    )


def _sum(stats: Seq[EngineStats]) -> EngineStats:
    """Return the sums of several engines' statistics."""
    names = [one.name for one in fields(EngineStats) if one.name not in {"failed", "objectives"}]
    sums = {name: sum(getattr(one, name) for one in stats) for name in names}
    sums["block_size"] = stats[0].block_size if stats else 0
    sums["last_step_s"] = max((one.last_step_s for one in stats), default=0.0)
    return EngineStats(**sums, failed=None)
