"""Block allocation for the paged key-value cache.

The cache is paged (PagedAttention, arXiv:2309.06180): keys and values are stored in
blocks of a fixed number of tokens, and a sequence holds a table of block ids.
The executor owns the memory; this module owns the ids. A full block can be found by
its tokens and all tokens before them (see ``prefix_index``), and any number of
sequences may share it, because full blocks are never written again.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Collection, Iterable
from itertools import chain

from ingot.errors import ServeError
from ingot.inference.request.sequence import Sequence
from ingot.inference.scheduling.cache_events import CacheJournal
from ingot.inference.scheduling.prefix_index import Prefix, PrefixIndex


class KVCache:
    """Allocator of cache blocks; each call costs O(1) per block.

    A block is held by sequences, or free and empty, or free and cached. When no empty
    block is left, the least recently used cached one is evicted. A sequence that holds a
    block also holds all blocks before it, so a prefix is evicted from its end.

    Args:
        num_blocks: Number of blocks.
        block_size: Tokens in a block.
        reuse: Whether full blocks are shared among sequences with the same prefix.
        background_blocks: Most blocks that background sequences may hold, each counted as often
            as it is held; None: all. What they cached is evicted first, so that they displace no
            more of what others cached than they may hold.
    """

    def __init__(
        self,
        num_blocks: int,
        block_size: int,
        *,
        reuse: bool = True,
        background_blocks: int | None = None,
    ) -> None:
        self.num_blocks = num_blocks
        self.block_size = block_size
        self._ref_counts = [0] * num_blocks
        self._empty = list(range(num_blocks - 1, -1, -1))  # a stack: low ids go first
        self._unused: OrderedDict[int, None] = OrderedDict()  # cached, least recently used first
        self._index = PrefixIndex(block_size) if reuse else None
        self._background_left = num_blocks if background_blocks is None else background_blocks
        self._background_cached: set[int] = set()
        """Blocks that a background sequence cached and no other has used since."""

    def watch(self, journal: CacheJournal | None) -> None:
        """Record cached blocks and evictions, see ``PrefixIndex.watch``; nothing without reuse."""
        if self._index is not None:
            self._index.watch(journal)

    @property
    def free_blocks(self) -> int:
        """Blocks that no sequence holds."""
        return len(self._empty) + len(self._unused)

    @property
    def unused_blocks(self) -> Collection[int]:
        """Blocks that no sequence holds and whose prefix can be found."""
        return self._unused.keys()

    @property
    def cached_blocks(self) -> int:
        """Blocks in the prefix index, held or free."""
        return 0 if self._index is None else len(self._index)

    def blocks_for(self, tokens: int) -> int:
        """Return how many blocks hold this many tokens."""
        return -(-tokens // self.block_size)

    def fits(self, sequence: Sequence) -> bool:
        """Return whether ``admit`` would find enough blocks."""
        return self._lacking(sequence, self._find(sequence)) is not None

    def admit(self, sequence: Sequence) -> bool:
        """Allocate blocks for all tokens of a sequence that holds none.

        Cached blocks are shared and their tokens count as computed, except for the last
        token: it must run to give the scores from which the next token is sampled.

        Returns:
            Whether there were enough blocks; if not, nothing has changed.
        """
        prefix = self._find(sequence)
        lacking = self._lacking(sequence, prefix)
        if lacking is None:
            return False
        if prefix is not None and self._index is not None:
            self._index.resume(sequence, prefix)
            for block in prefix.blocks:
                self._acquire(block)
            if not sequence.options.background:
                self._background_cached.difference_update(prefix.blocks)
            sequence.block_table.extend(prefix.blocks)
            sequence.computed = len(prefix.blocks) * self.block_size
        self._extend(sequence, lacking)
        if sequence.options.background:
            self._background_left -= len(sequence.block_table)
        return True

    def grow(self, sequence: Sequence, tokens: int) -> bool:
        """Allocate the missing blocks for a sequence of ``tokens`` tokens.

        Returns:
            Whether there were enough blocks; if not, nothing has changed.
        """
        lacking = -(-tokens // self.block_size) - len(sequence.block_table)
        if lacking > 0:
            if lacking > self.free_blocks or self._exceeds(sequence, lacking):
                return False
            self._extend(sequence, lacking)
            if sequence.options.background:
                self._background_left -= lacking
        return True

    def cache_full_blocks(self, sequence: Sequence) -> None:
        """Add a sequence's newly filled blocks to the prefix index, after ``computed`` grew.

        If the index already has a block with the same prefix, the sequence takes that one and
        its own is freed.
        """
        index = self._index
        if index is None:
            return
        for block_index in range(
            index.cached_prefix(sequence), sequence.computed // self.block_size
        ):
            own = sequence.block_table[block_index]
            block = index.add(sequence, own)
            if block == own:
                if sequence.options.background:
                    self._background_cached.add(block)
            else:
                self._acquire(block)
                sequence.block_table[block_index] = block
                self._ref_counts[own] = 0
                self._empty.append(own)

    def release(self, sequence: Sequence) -> None:
        """Free every block of a sequence; indexed blocks stay in the prefix cache."""
        index, ref_counts, table = self._index, self._ref_counts, sequence.block_table
        background = sequence.options.background
        if background:
            self._background_left += len(table)
        # Last block first, so that it becomes the least recently used: a prefix without its
        # end is still useful, an end without its prefix is not. What the background cached goes
        # before all others, so there the last block comes last.
        for block in table if background else reversed(table):
            ref_counts[block] -= 1
            if ref_counts[block]:
                continue
            if index is not None and block in index:
                self._unused[block] = None
                if block in self._background_cached:
                    self._unused.move_to_end(block, last=False)
            else:
                self._empty.append(block)
        if index is not None:
            index.forget(sequence)
        sequence.block_table.clear()
        sequence.computed = 0

    def check_integrity(self, sequences: Iterable[Sequence]) -> None:
        """Verify that every block is free, or referenced once per sequence that holds it.

        Raises:
            ServeError: a block is lost, miscounted, or both free and held.
        """
        held = Counter(chain.from_iterable(sequence.block_table for sequence in sequences))
        empty, unused = set(self._empty), self._unused.keys()
        free, index = empty | unused, set() if self._index is None else self._index.blocks()
        listed = len(self._empty) + len(unused)
        foreign = sum(not 0 <= block < self.num_blocks for block in free | held.keys())
        lost = self.num_blocks - len(free | held.keys()) + foreign
        both = listed - len(free) + len(free & held.keys())
        miscounted = self._miscounted(held)
        misindexed = len(index & empty) + len(unused - index)
        if lost or both or miscounted or foreign or misindexed:
            raise ServeError(
                f"of {self.num_blocks} blocks {lost} are lost, {both} are free twice or held "
                f"while free, {miscounted} have a wrong reference count, "
                f"{misindexed} are indexed wrongly and {foreign} ids are unknown",
                where="key-value cache",
            )

    def _miscounted(self, held: Counter[int]) -> int:
        """Return how many blocks have a wrong reference count."""
        known = {block: count for block, count in held.items() if 0 <= block < self.num_blocks}
        wrong = sum(self._ref_counts[block] != count for block, count in known.items())
        counted = self.num_blocks - self._ref_counts.count(0)
        return wrong + counted - sum(self._ref_counts[block] > 0 for block in known)

    def _find(self, sequence: Sequence) -> Prefix | None:
        """Return the cached prefix of a sequence; None if it must not be reused."""
        if self._index is None or not sequence.may_reuse:
            return None
        return self._index.find(sequence, (sequence.length - 1) // self.block_size)

    def _lacking(self, sequence: Sequence, prefix: Prefix | None) -> int | None:
        """Return how many blocks a sequence needs beside a prefix; None if too few are free."""
        found = prefix.blocks if prefix else []
        # Cached blocks of the prefix that are free count as free now, but will be held.
        unused = sum(1 for block in found if not self._ref_counts[block])
        if self._exceeds(sequence, self.blocks_for(sequence.length)):
            return None
        lacking = self.blocks_for(sequence.length) - len(found)
        return lacking if lacking <= self.free_blocks - unused else None

    def _exceeds(self, sequence: Sequence, count: int) -> bool:
        """Return whether a sequence may not hold ``count`` more blocks, being of the background."""
        return sequence.options.background and count > self._background_left

    def _acquire(self, block: int) -> None:
        """Add a reference to a cached block."""
        if not self._ref_counts[block]:
            del self._unused[block]
        self._ref_counts[block] += 1

    def _extend(self, sequence: Sequence, count: int) -> None:
        """Append ``count`` free blocks: empty ones first, then the least recently used."""
        for _ in range(count):
            if self._empty:
                block = self._empty.pop()
            else:
                block, _ = self._unused.popitem(last=False)
                if self._index is not None:
                    self._index.remove(block)
                    self._background_cached.discard(block)
            self._ref_counts[block] = 1
            sequence.block_table.append(block)
