"""Who holds which block of the key-value cache.

The cache is paged (PagedAttention, arXiv:2309.06180): keys and values live in
blocks of a fixed number of tokens, and a sequence holds a table of block ids.
The executor owns the memory; this owns the ids.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from ingot.errors import ServeError
from ingot.inference.sequence import Sequence


class KVCache:
    """Hands out blocks and takes them back; every block is free or held by one sequence."""

    def __init__(self, num_blocks: int, block_size: int) -> None:
        self.num_blocks = num_blocks
        self.block_size = block_size
        self._free = list(range(num_blocks - 1, -1, -1))  # a stack: low ids go first
        self.peak_used = 0
        """Most blocks that were in use at once."""

    @property
    def free_blocks(self) -> int:
        """Blocks that nobody holds."""
        return len(self._free)

    def blocks_for(self, tokens: int) -> int:
        """Return how many blocks hold this many tokens."""
        return -(-tokens // self.block_size)

    def grow(self, sequence: Sequence, tokens: int) -> bool:
        """Give a sequence the blocks it lacks to hold ``tokens`` tokens.

        Returns:
            Whether there were enough; if not, nothing has changed.
        """
        lacking = self.blocks_for(tokens) - len(sequence.block_table)
        if lacking > len(self._free):
            return False
        for _ in range(lacking):
            sequence.block_table.append(self._free.pop())
        self.peak_used = max(self.peak_used, self.num_blocks - len(self._free))
        return True

    def release(self, sequence: Sequence) -> None:
        """Take back every block of a sequence."""
        self._free.extend(reversed(sequence.block_table))
        sequence.block_table.clear()
        sequence.computed = 0

    def check_integrity(self, sequences: Iterable[Sequence]) -> None:
        """Prove that every block is either free or held by exactly one of ``sequences``.

        Raises:
            ServeError: a block is lost, held twice, or both free and held.
        """
        holders = Counter(self._free)
        for sequence in sequences:
            holders.update(sequence.block_table)
        lost = self.num_blocks - sum(block in holders for block in range(self.num_blocks))
        shared = sum(count > 1 for count in holders.values())
        foreign = sum(not 0 <= block < self.num_blocks for block in holders)
        if lost or shared or foreign:
            raise ServeError(
                f"of {self.num_blocks} blocks {lost} are lost, {shared} have more than one "
                f"holder and {foreign} ids are unknown",
                where="key-value cache",
            )
