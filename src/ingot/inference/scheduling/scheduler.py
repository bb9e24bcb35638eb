"""Selection of the sequences that run in a step, and of their tokens.

Continuous batching (Orca, OSDI 2022) with chunked prefill (Sarathi-Serve,
arXiv:2403.02310): each step fills one token budget, decodes first, so that a
long prompt never delays the answers in progress.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

from ingot.errors import UsageError
from ingot.inference.request.sequence import Sequence, Status
from ingot.inference.scheduling.fair_queue import READ_COST, WRITE_COST, FairQueue
from ingot.inference.scheduling.kv_cache import KVCache


@dataclass(slots=True, eq=False)
class ScheduledChunk:
    """The next ``count`` tokens of a sequence that are not in the cache yet."""

    sequence: Sequence
    count: int
    drafts: tuple[int, ...] = ()
    """Draft tokens that follow; only after the last known token."""


class Scheduler:
    """Keeps the waiting and the running sequences.

    A running sequence holds blocks for all of its tokens from its admission on;
    only a decode ever needs one more. Whoever needs room takes it from the end of
    ``running``: the worst priority, and of those the last admitted. So the first can
    always go on, and no one of its priority starves.

    Args:
        cache: Allocates the blocks.
        max_step_tokens: The token budget of a step.
        max_sequences: Maximum running sequences; at most ``max_step_tokens``.
        max_context: Maximum tokens of one sequence.
    """

    def __init__(
        self, cache: KVCache, *, max_step_tokens: int, max_sequences: int, max_context: int
    ) -> None:
        self._cache = cache
        self._max_step_tokens = max_step_tokens
        self._max_sequences = max_sequences
        self._max_context = max_context
        self._blocked: tuple[Sequence, int, int] | None = None
        """Who was last found not to fit, and how many blocks were free and cached then."""
        self.waiting = FairQueue()
        self.running: list[Sequence] = []
        """By priority, then by admission."""
        self.preemptions = 0
        """Number of times a running sequence was returned to the queue."""

    @property
    def live(self) -> Iterator[Sequence]:
        """Every sequence that has not finished."""
        return chain(self.running, self.waiting)

    def check_fits(self, sequence: Sequence) -> None:
        """Refuse a sequence whose longest answer would not fit even in an empty cache.

        Raises:
            UsageError: the message says how many blocks it needs and how many there are.
        """
        longest = min(len(sequence.prompt_ids) + sequence.params.max_tokens, self._max_context)
        needed = self._cache.blocks_for(longest - 1)  # the last token is sampled, never run
        if needed > self._cache.num_blocks:
            raise UsageError(
                f"{longest} tokens of prompt and answer need {needed} cache blocks of "
                f"{self._cache.block_size}, there are {self._cache.num_blocks}",
                where="prompt",
                fix="lower max_tokens, or give the engine a larger key-value cache",
            )

    def add(self, sequence: Sequence) -> None:
        """Put a new sequence behind the others that wait."""
        self.waiting.push(sequence)

    def schedule(self) -> list[ScheduledChunk]:
        """Choose the next step's work; give each sequence in it the blocks it needs."""
        if self.waiting:
            self._admit_urgent()
        chunks = self._decodes()
        budget = self._max_step_tokens - len(chunks)
        if len(chunks) < len(self.running):
            budget = self._prefills(chunks, budget)
        while budget and (sequence := self._admit()):
            chunks.append(
                ScheduledChunk(sequence, min(sequence.length - sequence.computed, budget))
            )
            budget -= chunks[-1].count
        return chunks

    def finish(self, sequence: Sequence) -> None:
        """Remove a sequence from the queue or the batch, and free its blocks."""
        if sequence.status is Status.RUNNING:
            self.running.remove(sequence)
        else:
            self.waiting.remove(sequence)
        self._charge(sequence)
        self._cache.release(sequence)
        sequence.status = Status.FINISHED

    def advance(self, sequence: Sequence, count: int) -> None:
        """Record that ``count`` more tokens of a sequence are computed."""
        before = sequence.computed
        after = sequence.computed = before + count
        size = self._cache.block_size
        if after // size > before // size:
            self._cache.cache_full_blocks(sequence)
            self._charge(sequence)

    def _charge(self, sequence: Sequence) -> None:
        """Count what was written since the last time; what was preempted counts once."""
        if sequence.computed > sequence.charged:
            written = sequence.computed - sequence.charged
            self.waiting.charge(sequence, WRITE_COST * written)
            sequence.charged = sequence.computed

    def _decodes(self) -> list[ScheduledChunk]:
        """Take each running sequence with one token left, making room from the far end."""
        chunks: list[ScheduledChunk] = []
        size = self._cache.block_size
        for sequence in list(self.running):
            if sequence.length - sequence.computed != 1 or sequence.status is not Status.RUNNING:
                continue
            # Only later ones are preempted, or itself: what is in ``chunks`` stays valid.
            while sequence.length > size * len(sequence.block_table):
                if not self._cache.grow(sequence, sequence.length):
                    victim = self.running[-1]
                    self._preempt(victim)
                    if victim is sequence:
                        break
            else:
                chunks.append(ScheduledChunk(sequence, 1))
        return chunks

    def _prefills(self, chunks: list[ScheduledChunk], budget: int) -> int:
        """Give running sequences that are not through their prompts what is left of the budget."""
        for sequence in self.running:
            remaining = sequence.length - sequence.computed
            if budget and remaining > 1:
                chunks.append(ScheduledChunk(sequence, min(remaining, budget)))
                budget -= chunks[-1].count
        return budget

    def _admit_urgent(self) -> None:
        """Let those run that are of better priority than some who do, at their cost."""
        while self.running and (first := self.waiting.first()) is not None:
            if first.options.priority >= self.running[-1].options.priority or not self._preempt_for(
                first
            ):
                return
            if self._admit() is None:
                return

    def _preempt_for(self, first: Sequence) -> bool:
        """Preempt those of worse priority until ``first`` can run; nobody if it cannot then."""
        worse = [one for one in self.running if one.options.priority > first.options.priority]
        most = self._cache.free_blocks + sum(len(one.block_table) for one in worse)
        if self._cache.blocks_for(first.length) > most:
            return False
        while not self._has_room(first):
            if not worse:
                return False
            self._preempt(worse.pop())
        return True

    def _has_room(self, sequence: Sequence) -> bool:
        return len(self.running) < self._max_sequences and self._cache.fits(sequence)

    def _preempt(self, sequence: Sequence) -> None:
        """Send a running sequence back to wait; what it has said will be prefilled again."""
        # Into the one list before out of the other: who counts both never misses it.
        self.waiting.push_back(sequence)
        self.running.remove(sequence)
        self._charge(sequence)
        self._cache.release(sequence)
        sequence.status = Status.WAITING
        self.preemptions += 1

    def _admit(self) -> Sequence | None:
        """Let the first that waits run, if there is room for all of its tokens."""
        if len(self.running) >= self._max_sequences:
            return None
        sequence = self.waiting.first()
        if sequence is None:
            return None
        attempt = sequence, self._cache.free_blocks, self._cache.cached_blocks
        if self._blocked == attempt:
            return None
        if not self._cache.admit(sequence):
            self._blocked = attempt
            return None
        if sequence.cached_tokens is None:
            sequence.cached_tokens = sequence.computed
            sequence.charged = sequence.length
            self.waiting.charge(sequence, READ_COST * (sequence.length - sequence.computed))
        sequence.status = Status.RUNNING
        insort(self.running, sequence, key=_priority)
        self.waiting.remove(sequence)
        return sequence


def _priority(sequence: Sequence) -> int:
    return sequence.options.priority
