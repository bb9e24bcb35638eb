"""Who holds which block of the key-value cache.

The cache is paged (PagedAttention, arXiv:2309.06180): keys and values live in
blocks of a fixed number of tokens, and a sequence holds a table of block ids.
The executor owns the memory; this owns the ids. A full block stays findable by
the tokens it holds and all before them (see ``prefix_index``), and any number of
sequences may hold it at once; nothing is ever written to it again.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable
from itertools import chain

from ingot.errors import ServeError
from ingot.inference.request.sequence import Sequence
from ingot.inference.scheduling.prefix_index import Prefix, PrefixIndex


class KVCache:
    """Hands out blocks and takes them back; each call costs O(1) for a block it touches.

    A block is held by sequences, or free and empty, or free and cached: of the
    cached ones the least recently used is emptied first. A sequence that holds a
    block holds all that come before it, so the end of a prefix always goes first.

    Args:
        num_blocks: Blocks there are.
        block_size: Tokens in a block.
        reuse: Whether full blocks are found again by what they hold.
    """

    def __init__(self, num_blocks: int, block_size: int, *, reuse: bool = True) -> None:
        self.num_blocks = num_blocks
        self.block_size = block_size
        self._ref_counts = [0] * num_blocks
        self._empty = list(range(num_blocks - 1, -1, -1))  # a stack: low ids go first
        self._unused: OrderedDict[int, None] = OrderedDict()  # cached, least recently used first
        self._index = PrefixIndex(block_size) if reuse else None
        self.peak_used = 0
        """Most blocks that were held at once."""

    @property
    def free_blocks(self) -> int:
        """Blocks that nobody holds."""
        return len(self._empty) + len(self._unused)

    @property
    def cached_blocks(self) -> int:
        """Blocks, held or free, that can be found by what they hold."""
        return 0 if self._index is None else len(self._index)

    def blocks_for(self, tokens: int) -> int:
        """Return how many blocks hold this many tokens."""
        return -(-tokens // self.block_size)

    def fits(self, sequence: Sequence) -> bool:
        """Tell whether ``admit`` would find enough blocks."""
        return self._lacking(sequence, self._find(sequence)) is not None

    def admit(self, sequence: Sequence) -> bool:
        """Give a sequence that holds nothing the blocks for all of its tokens.

        What is cached of them is shared and counts as computed, all but the last
        token: it must be run, so that there are scores to draw from.

        Returns:
            Whether there were enough; if not, nothing has changed.
        """
        prefix = self._find(sequence)
        lacking = self._lacking(sequence, prefix)
        if lacking is None:
            return False
        if prefix is not None and self._index is not None:
            self._index.resume(sequence, prefix)
            for block in prefix.blocks:
                self._acquire(block)
            sequence.block_table.extend(prefix.blocks)
            sequence.computed = len(prefix.blocks) * self.block_size
        self._extend(sequence, lacking)
        return True

    def grow(self, sequence: Sequence, tokens: int) -> bool:
        """Give a sequence the blocks it lacks to hold ``tokens`` tokens.

        Returns:
            Whether there were enough; if not, nothing has changed.
        """
        lacking = -(-tokens // self.block_size) - len(sequence.block_table)
        if lacking > 0:
            if lacking > self.free_blocks:
                return False
            self._extend(sequence, lacking)
        return True

    def cache_full_blocks(self, sequence: Sequence) -> None:
        """Make findable what a sequence has computed; call it when ``computed`` has grown.

        Where another block already holds the same, the sequence takes that one.
        """
        index = self._index
        if index is None:
            return
        for block_index in range(
            index.cached_prefix(sequence), sequence.computed // self.block_size
        ):
            own = sequence.block_table[block_index]
            block = index.add(sequence, own)
            if block != own:
                self._acquire(block)
                sequence.block_table[block_index] = block
                self._ref_counts[own] = 0
                self._empty.append(own)

    def release(self, sequence: Sequence) -> None:
        """Take back every block of a sequence; what was published stays findable."""
        index, ref_counts = self._index, self._ref_counts
        for block in reversed(sequence.block_table):
            ref_counts[block] -= 1
            if ref_counts[block]:
                continue
            if index is not None and block in index:
                self._unused[block] = None
            else:
                self._empty.append(block)
        if index is not None:
            index.forget(sequence)
        sequence.block_table.clear()
        sequence.computed = 0

    def check_integrity(self, sequences: Iterable[Sequence]) -> None:
        """Prove that every block is free or counted once for each of ``sequences`` holding it.

        Raises:
            ServeError: a block is lost, held by more than it counts, or both free and held.
        """
        held = Counter(chain.from_iterable(sequence.block_table for sequence in sequences))
        empty, unused = set(self._empty), self._unused.keys()
        free, index = empty | unused, set() if self._index is None else self._index.blocks()
        listed = len(self._empty) + len(unused)
        foreign = sum(not 0 <= block < self.num_blocks for block in free | held.keys())
        lost = self.num_blocks - len(free | held.keys()) + foreign
        both = listed - len(free) + len(free & held.keys())
        miscounted = self._miscounted(held)
        misfiled = len(index & empty) + len(unused - index)
        if lost or both or miscounted or foreign or misfiled:
            raise ServeError(
                f"of {self.num_blocks} blocks {lost} are lost, {both} are free twice or held "
                f"while free, {miscounted} have another number of holders than counted, "
                f"{misfiled} are filed wrongly and {foreign} ids are unknown",
                where="key-value cache",
            )

    def _miscounted(self, held: Counter[int]) -> int:
        """Return how many blocks have another number of holders than is counted."""
        known = {block: count for block, count in held.items() if 0 <= block < self.num_blocks}
        wrong = sum(self._ref_counts[block] != count for block, count in known.items())
        counted = self.num_blocks - self._ref_counts.count(0)
        return wrong + counted - sum(self._ref_counts[block] > 0 for block in known)

    def _find(self, sequence: Sequence) -> Prefix | None:
        """Return the cached start of a sequence; None where it must not be used."""
        if self._index is None or not sequence.may_reuse:
            return None
        return self._index.find(sequence, (sequence.length - 1) // self.block_size)

    def _lacking(self, sequence: Sequence, prefix: Prefix | None) -> int | None:
        """Return how many blocks a sequence needs beside a prefix; None if there are too few."""
        found = prefix.blocks if prefix else []
        unused = sum(1 for block in found if not self._ref_counts[block])
        lacking = self.blocks_for(sequence.length) - len(found)
        return lacking if lacking <= self.free_blocks - unused else None

    def _acquire(self, block: int) -> None:
        """Count one more holder of a cached block."""
        if not self._ref_counts[block]:
            del self._unused[block]
        self._ref_counts[block] += 1

    def _extend(self, sequence: Sequence, count: int) -> None:
        """Append ``count`` blocks, of which there must be enough: empty ones, then the oldest."""
        for _ in range(count):
            if self._empty:
                block = self._empty.pop()
            else:
                block, _ = self._unused.popitem(last=False)
                if self._index is not None:
                    self._index.remove(block)
            self._ref_counts[block] = 1
            sequence.block_table.append(block)
        self.peak_used = max(self.peak_used, self.num_blocks - self.free_blocks)
