"""Selection of the sequences that run in a step, and of their tokens.

Continuous batching (Orca, OSDI 2022) with chunked prefill (Sarathi-Serve,
arXiv:2403.02310): each step fills one token budget, decodes first, so that a
long prompt never delays the answers in progress.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

from ingot.errors import UsageError
from ingot.inference.request.sequence import Sequence, Status
from ingot.inference.scheduling import fair_share
from ingot.inference.scheduling.fair_queue import READ_COST, WRITE_COST, FairQueue
from ingot.inference.scheduling.kv_cache import KVCache
from ingot.inference.scheduling.pacing import PASSES, Pacing
from ingot.inference.scheduling.tenant_share import TenantShare

_CANDIDATES = 8
"""How many sequences are tried in its place."""


@dataclass(slots=True, eq=False)
class ScheduledChunk:
    """The next ``count`` tokens of a sequence that are not in the cache yet."""

    sequence: Sequence
    count: int
    drafts: tuple[int, ...] = ()
    """Draft tokens that follow; only after the last known token."""


class Scheduler:
    """Owner of the waiting and the running sequences.

    From its admission on, a running sequence holds blocks for all of its tokens; only a
    decode ever needs one more. If none is free, the sequence that ``fair_share.worst`` names is
    preempted.

    Args:
        cache: Allocates the blocks.
        max_step_tokens: The token budget of a step.
        max_sequences: Maximum running sequences; at most ``max_step_tokens``.
        max_context: Maximum tokens of one sequence.
        tenant_share: See ``TenantShare``.
    """

    def __init__(
        self,
        cache: KVCache,
        *,
        max_step_tokens: int,
        max_sequences: int,
        max_context: int,
        tenant_share: float = 1.0,
    ) -> None:
        self._cache = cache
        self._shares = TenantShare(tenant_share, max_step_tokens)
        self._max_step_tokens = max_step_tokens
        self._max_sequences = max_sequences
        self._max_context = max_context
        self._admissions = itertools.count()
        self._blocked: tuple[Sequence, int, int, int] | None = None
        """The sequence that last failed to fit, with the queue's length and the free and cached
        blocks at that time.

        While these stay the same, trying again would fail again."""
        self._pacing: Pacing | None = None
        self.waiting = FairQueue()
        self.running: list[Sequence] = []
        """In order of admission."""
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

    def pace(self, pacing: Pacing) -> None:
        """Keep latency objectives from here on."""
        self._pacing = pacing
        self.waiting.most_urgent = pacing.most_urgent

    def add(self, sequence: Sequence) -> None:
        """Add a new sequence to the queue."""
        self._shares.watch(sequence.options.tenant)
        self.waiting.push(sequence)

    def schedule(self) -> list[ScheduledChunk]:
        """Choose the work of the next step, and allocate the blocks it needs."""
        self._shares.begin()
        if self._pacing is not None:
            self._pacing.begin()
        if self.waiting:
            self._admit_by_preemption()
        newcomer = self._newcomer()
        chunks = self._decodes(newcomer)
        budget = self._max_step_tokens - len(chunks)
        if self._pacing is not None:
            budget = self._paced(chunks, newcomer, budget)
        prefills = self._prefills(budget, newcomer) if len(chunks) < len(self.running) else []
        chunks += prefills
        budget -= sum(chunk.count for chunk in prefills)
        admitted: list[ScheduledChunk] = []
        while budget and (sequence := self._admit()):
            admitted.append(ScheduledChunk(sequence, 0))
            budget -= self._extend(admitted[-1:], budget)
        self._extend(prefills, budget)
        return chunks + [chunk for chunk in admitted if chunk.count]

    def _paced(self, decodes: list[ScheduledChunk], newcomer: Sequence | None, budget: int) -> int:
        """Return how much of a step's budget for prompts its answers leave."""
        prompts = (one for one in self.running if one.length - one.computed > 1)
        first = next(prompts, newcomer)
        if self._pacing is None or first is None:
            return budget
        answers = [chunk.sequence for chunk in decodes]
        return self._pacing.prompt_tokens(answers, first.computed, budget)

    def charge(self, chunks: Iterable[ScheduledChunk], seconds: float) -> None:
        """Record how long a step with these chunks took."""
        if not self._shares.watching:
            return
        tokens = Counter[str]()
        for chunk in chunks:
            tokens[chunk.sequence.options.tenant] += chunk.count + len(chunk.drafts)
        self._shares.charge(tokens, seconds)

    def preempt_one(self) -> None:
        """Preempt the running sequence that gives way first; at least one must run."""
        self._preempt(fair_share.worst(self.running))

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
        """Charge the tokens written since the last charge; recomputed tokens are free."""
        if sequence.computed > sequence.charged:
            written = sequence.computed - sequence.charged
            self.waiting.charge(sequence, WRITE_COST * written)
            sequence.charged = sequence.computed

    def _newcomer(self) -> Sequence | None:
        """Return the sequence whose turn it is, if it can be admitted in this step."""
        first = self.waiting.first() if len(self.running) < self._max_sequences else None
        if first is None or self._blocked == self._attempt(first) or not self._cache.fits(first):
            return None
        return first

    def _attempt(self, first: Sequence) -> tuple[Sequence, int, int, int]:
        """Return what decides whether a sequence can be admitted."""
        return first, len(self.waiting), self._cache.free_blocks, self._cache.cached_blocks

    def _decodes(self, newcomer: Sequence | None) -> list[ScheduledChunk]:
        """Return a chunk for each running sequence that decodes in this step."""
        chunks: list[ScheduledChunk] = []
        size, preemptions = self._cache.block_size, self.preemptions
        ready = self._shares.choose_decodes(self.running, newcomer)
        if self._pacing is not None:
            ready = self._pacing.choose_decodes(ready)
        for sequence in ready:
            if sequence.status is Status.RUNNING:
                if sequence.length > size * len(sequence.block_table):
                    self._grow(sequence)
                chunks.append(ScheduledChunk(sequence, 1))
        if self.preemptions > preemptions:
            return [chunk for chunk in chunks if chunk.sequence.status is Status.RUNNING]
        return chunks

    def _grow(self, sequence: Sequence) -> None:
        """Allocate the block that a decode needs, preempting others or the sequence itself."""
        while not self._cache.grow(sequence, sequence.length):
            victim = fair_share.worst(self.running)
            self._preempt(victim)
            if victim is sequence:
                return

    def _prefills(self, budget: int, newcomer: Sequence | None) -> list[ScheduledChunk]:
        """Return chunks of the running prefills, with an equal share of the budget per tenant.

        A tenant that waits for admission counts as one of them: otherwise another's long
        prompt would delay it by as many steps as the prompt needs.
        """
        prefills: dict[str, list[Sequence]] = {}
        for sequence in self.running:
            if sequence.length - sequence.computed > 1:
                prefills.setdefault(sequence.options.tenant, []).append(sequence)
        comes = newcomer is not None and newcomer.options.tenant not in prefills
        share = budget // max(len(prefills) + comes, 1)
        chunks: list[ScheduledChunk] = []
        for sequences in prefills.values():
            if self._pacing is not None:
                self._pacing.sort(sequences)
            own = [ScheduledChunk(sequence, 0) for sequence in sequences]
            budget -= self._extend(own, share)
            chunks += own
        if not comes:
            self._extend(chunks, budget)
        return [chunk for chunk in chunks if chunk.count]

    def _admit_by_preemption(self) -> None:
        """Admit sequences that may take the place of running ones."""
        while self.running and (first := self.waiting.first()) is not None:
            if not self._preempt_for(first) or self._admit() is None:
                return

    def _preempt_for(self, first: Sequence) -> bool:
        """Preempt others until ``first`` has room; return False if it needs or gets none."""
        victims = fair_share.preemptible(first, self.running, self.waiting.tenant_service)
        if not victims:
            return False
        most = self._cache.free_blocks + sum(len(one.block_table) for one in victims)
        if self._cache.blocks_for(first.length) > most:
            return False
        urgent = fair_share.is_urgent(first, victims[0])
        if self._has_room(first):
            return urgent
        for victim in victims:
            self._preempt(victim)
            if self._has_room(first):
                return True
        return False

    def _has_room(self, sequence: Sequence) -> bool:
        return len(self.running) < self._max_sequences and self._cache.fits(sequence)

    def _preempt(self, sequence: Sequence) -> None:
        """Return a running sequence to the queue; its prompt and output are prefilled again."""
        # Into the queue first: another thread that adds up both never misses the sequence.
        self.waiting.requeue(sequence)
        self.running.remove(sequence)
        self._charge(sequence)
        self._cache.release(sequence)
        sequence.status = Status.WAITING
        self.preemptions += 1

    def _admit(self) -> Sequence | None:
        """Admit the sequence whose turn it is, or one behind it that may pass it.

        Others pass a sequence of a tenant that may run nothing in this step, and one that does
        not fit: that one ``PASSES`` times, and then nobody until it is admitted. Nobody passes
        one that was preempted: what runs needed its blocks.
        """
        first = self.waiting.first() if len(self.running) < self._max_sequences else None
        if first is None:
            return None
        if self._pacing is not None:
            if self._pacing.gives_way(first) and (other := self._admit_instead(first)):
                first.passed += 1
                return other
            if not self._pacing.may_start(first, self.running):
                return None
        limited = self._shares.left(first) <= 0
        if not limited:
            if self._blocked == self._attempt(first):
                return None
            if self._cache.admit(first):
                self.running.append(first)  # before it leaves the queue; see ``_preempt``
                self.waiting.pop(first)
                return self._start(first)
            self._blocked = self._attempt(first)
            if first.passed >= PASSES or first.admission is not None:
                return None
        if (other := self._admit_instead(first)) is not None:
            first.passed += not limited
        return other

    def _admit_instead(self, first: Sequence) -> Sequence | None:
        """Admit one of those behind the sequence whose turn it is; None if none may be.

        One that has no objective to keep gives way to those alone that do.
        """
        pacing = self._pacing
        for other in self.waiting.candidates(_CANDIDATES):
            if other is first or self._shares.left(other) <= 0:
                continue
            if pacing is not None and not (
                pacing.may_start(other, self.running) and pacing.may_pass(other, first)
            ):
                continue
            if self._cache.admit(other):
                self.running.append(other)
                self.waiting.remove(other)
                return self._start(other)
        return None

    def _start(self, sequence: Sequence) -> Sequence:
        """Charge a sequence that was admitted, the first time, and let it run."""
        if sequence.cached_tokens is None:
            sequence.cached_tokens = min(sequence.computed, len(sequence.prompt_ids))
            sequence.charged = sequence.length
            self.waiting.charge(sequence, READ_COST * (sequence.length - sequence.computed))
            sequence.admission = next(self._admissions)
        sequence.status = Status.RUNNING
        return sequence

    def _extend(self, chunks: list[ScheduledChunk], budget: int) -> int:
        """Spend a budget on more tokens of prompts, in order; return the tokens spent."""
        spent = 0
        for chunk in chunks:
            sequence = chunk.sequence
            remaining = sequence.length - sequence.computed - chunk.count
            more = max(min(remaining, budget - spent, self._shares.left(sequence)), 0)
            self._shares.use(sequence, more)
            chunk.count += more
            spent += more
        return spent
