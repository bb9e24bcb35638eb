"""Which sequences run in a step, and how many tokens of each.

Continuous batching (Orca, OSDI 2022) with chunked prefill (Sarathi-Serve,
arXiv:2403.02310): each step fills one token budget, decodes first, so that a
long prompt never makes those who are being answered wait.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

from ingot.errors import UsageError
from ingot.inference.kv_cache import KVCache
from ingot.inference.sequence import Sequence, Status


@dataclass(frozen=True)
class Piece:
    """The next ``count`` tokens of a sequence that are not in the cache yet."""

    sequence: Sequence
    count: int


class Scheduler:
    """Keeps the waiting and the running sequences, both oldest first.

    A running sequence holds blocks for all of its tokens from its admission on;
    only a decode ever needs one more. So the oldest can always go on, by
    preempting the youngest, and no one starves.

    Args:
        cache: Hands out the blocks.
        max_step_tokens: The token budget of a step.
        max_sequences: Most sequences running; at most ``max_step_tokens``.
        max_context: Most tokens of one sequence.
    """

    def __init__(
        self, cache: KVCache, *, max_step_tokens: int, max_sequences: int, max_context: int
    ) -> None:
        self._cache = cache
        self._max_step_tokens = max_step_tokens
        self._max_sequences = max_sequences
        self._max_context = max_context
        self.waiting: deque[Sequence] = deque()
        self.running: list[Sequence] = []

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
        needed = self._cache.blocks_for(longest - 1)  # the last token drawn is never run
        if needed > self._cache.num_blocks:
            raise UsageError(
                f"{longest} tokens of prompt and answer need {needed} cache blocks of "
                f"{self._cache.block_size}, there are {self._cache.num_blocks}",
                where="prompt",
                fix="lower max_tokens, or give the engine a larger key-value cache",
            )

    def add(self, sequence: Sequence) -> None:
        """Put a new sequence behind the others that wait."""
        self.waiting.append(sequence)

    def schedule(self) -> list[Piece]:
        """Choose the next step's work; give each sequence in it the blocks it needs."""
        pieces = self._decodes()
        budget = self._max_step_tokens - len(pieces)
        for sequence in self.running:
            remaining = sequence.length - sequence.computed
            if budget and remaining > 1:
                pieces.append(Piece(sequence, min(remaining, budget)))
                budget -= pieces[-1].count
        while budget and self._admit():
            sequence = self.running[-1]
            pieces.append(Piece(sequence, min(sequence.length, budget)))
            budget -= pieces[-1].count
        return pieces

    def finish(self, sequence: Sequence) -> None:
        """Let go of a sequence, wherever it is, and free its blocks."""
        if sequence.status is Status.RUNNING:
            self.running.remove(sequence)
        else:
            self.waiting.remove(sequence)
        self._cache.release(sequence)
        sequence.status = Status.FINISHED

    def _decodes(self) -> list[Piece]:
        """Take each running sequence with one token left, making room from the young end."""
        pieces: list[Piece] = []
        for sequence in list(self.running):
            if sequence.status is not Status.RUNNING or sequence.length - sequence.computed != 1:
                continue
            # Only younger ones are preempted, or itself: what is in ``pieces`` stays valid.
            while not self._cache.grow(sequence, sequence.length):
                victim = self.running[-1]
                self._preempt(victim)
                if victim is sequence:
                    break
            else:
                pieces.append(Piece(sequence, 1))
        return pieces

    def _preempt(self, sequence: Sequence) -> None:
        """Send a running sequence back to wait; what it has said will be prefilled again."""
        # Into the one list before out of the other: who counts both never misses it.
        self.waiting.appendleft(sequence)
        self.running.remove(sequence)
        self._cache.release(sequence)
        sequence.status = Status.WAITING

    def _admit(self) -> bool:
        """Let the oldest waiting sequence run, if there is room for all of its tokens."""
        if not self.waiting or len(self.running) >= self._max_sequences:
            return False
        sequence = self.waiting[0]
        if not self._cache.grow(sequence, sequence.length):
            return False
        sequence.status = Status.RUNNING
        self.running.append(sequence)
        self.waiting.popleft()
        return True
