"""Two service classes on one key-value cache: interactive work, and background work beside it.

Background sequences run only in steps in which no interactive one can run, keep their blocks
meanwhile as far as nobody needs them, and never delay an interactive step: their own steps are
short and can be interrupted (``Executor.try_step``). That strict order is what keeps the latency
of interactive work as it is; progress of the background is not promised.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence as Seq
from itertools import chain

from ingot.inference.config import EngineConfig
from ingot.inference.request.sequence import Sequence
from ingot.inference.scheduling.kv_cache import KVCache
from ingot.inference.scheduling.scheduler import ScheduledChunk, Scheduler

BACKGROUND_STEP_TOKENS = 32
"""Token budget of a background step. More would compute prompts little faster, but take longer to
interrupt: that is noticed between halves of layers."""
_CACHE_SHARE = 4
"""Background sequences hold at most one in so many blocks, so that prefixes of others stay."""


def background_blocks(num_blocks: int, longest: int) -> int:
    """Return how many blocks background sequences may hold.

    Args:
        num_blocks: Blocks of the cache.
        longest: Blocks of the longest sequence, which must fit if it fits at all.
    """
    return max(num_blocks // _CACHE_SHARE, min(longest, num_blocks))


class ServiceClasses:
    """Chooses each step's class and routes sequences to the scheduler of theirs.

    Args:
        cache: Where both allocate.
        config: Limits of the interactive class, which bound the background too.
        max_context: Maximum tokens of one sequence.
    """

    def __init__(self, cache: KVCache, config: EngineConfig, max_context: int) -> None:
        self._cache = cache
        self.interactive = Scheduler(
            cache,
            max_step_tokens=config.max_step_tokens,
            max_sequences=config.max_sequences,
            max_context=max_context,
            tenant_share=config.tenant_share,
        )
        """Sequences that a client waits for."""
        background_tokens = min(BACKGROUND_STEP_TOKENS, config.max_step_tokens)
        self.background = Scheduler(
            cache,
            max_step_tokens=background_tokens,
            max_sequences=min(config.max_sequences, background_tokens),
            max_context=max_context,
        )
        """Sequences with ``RequestOptions.background``."""
        self.held = False
        """Whether background sequences must wait although nothing else runs here."""

    @property
    def has_work(self) -> bool:
        """Whether ``schedule`` may have something to run."""
        if self.interactive.running or self.interactive.waiting:
            return True
        return not self.held and self.has_background

    @property
    def has_background(self) -> bool:
        """Whether any background sequence has not finished."""
        return bool(self.background.running or self.background.waiting)

    @property
    def running(self) -> list[Sequence]:
        """The running sequences of both classes, paused ones included."""
        return [*self.interactive.running, *self.background.running]

    @property
    def waiting(self) -> list[Sequence]:
        """The waiting sequences of both classes."""
        return [*self.interactive.waiting, *self.background.waiting]

    @property
    def live(self) -> Iterator[Sequence]:
        """Every sequence that has not finished."""
        return chain(self.interactive.live, self.background.live)

    @property
    def preemptions(self) -> int:
        """Number of times a running sequence was returned to the queue."""
        return self.interactive.preemptions + self.background.preemptions

    def of(self, sequence: Sequence) -> Scheduler:
        """Return the scheduler of a sequence's class."""
        return self.background if sequence.options.background else self.interactive

    def schedule(self) -> list[ScheduledChunk]:
        """Choose the work of the next step, all of one class, and allocate its blocks."""
        if self.interactive.running or self.interactive.waiting:
            self._make_room()
            if chunks := self.interactive.schedule():
                return chunks
        if self.held or not self.has_background:
            return []
        return self.background.schedule()

    def charge(self, chunks: Seq[ScheduledChunk], seconds: float) -> None:
        """Record how long a step with these chunks took."""
        self.of(chunks[0].sequence).charge(chunks, seconds)

    def check_fits(self, sequence: Sequence) -> None:
        """Refuse a sequence that would not fit even in an empty cache; see ``Scheduler``.

        Raises:
            UsageError: it would not.
        """
        self.of(sequence).check_fits(sequence)

    def add(self, sequence: Sequence) -> None:
        """Add a new sequence to the queue of its class."""
        self.of(sequence).add(sequence)

    def finish(self, sequence: Sequence) -> None:
        """Remove a sequence, and free its blocks."""
        self.of(sequence).finish(sequence)

    def advance(self, sequence: Sequence, count: int) -> None:
        """Record that ``count`` more tokens of a sequence are computed."""
        self.of(sequence).advance(sequence, count)

    def _make_room(self) -> None:
        """Preempt background sequences until all interactive ones that wait have blocks.

        Each needs those of its tokens, and one more for the next; a running one at most one.
        """
        waiting = self.interactive.waiting
        needed = waiting.tokens // self._cache.block_size + 2 * len(waiting)
        needed += len(self.interactive.running)
        while self.background.running and self._cache.free_blocks < needed:
            self.background.preempt_one()
