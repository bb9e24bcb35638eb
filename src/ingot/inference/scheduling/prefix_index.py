"""Index of cached blocks by the prefix they hold."""

from __future__ import annotations

import itertools
from collections.abc import Set
from typing import NamedTuple

from ingot.inference.request.sequence import Sequence
from ingot.inference.scheduling.cache_events import CacheJournal

_Node = int | str
_Key = tuple[_Node, bytes]


class Prefix(NamedTuple):
    """Blocks that hold the start of a sequence, and the node of the last one."""

    blocks: list[int]
    node: _Node


class PrefixIndex:
    """A tree of full blocks, one node for each distinct prefix.

    The key of a node is its parent and its own tokens, compared in full and not only
    by hash: no collision can give one request another's keys and values. The root is
    the sequence's salt, so requests with different salts share nothing. Node ids are never
    reused, so the descendants of a removed node cannot be found any more. There is at most
    one node per block, so the size of the cache bounds the index.

    Args:
        block_size: Tokens in a block.
    """

    def __init__(self, block_size: int) -> None:
        self._block_size = block_size
        self._nodes: dict[_Key, tuple[int, int]] = {}  # to node and block
        self._keys: dict[int, _Key] = {}  # by block
        self._paths: dict[Sequence, tuple[int, _Node]] = {}  # blocks indexed, last node
        self._ids = itertools.count()
        self._journal: CacheJournal | None = None

    def __len__(self) -> int:
        return len(self._keys)

    def __contains__(self, block: int) -> bool:
        return block in self._keys

    def blocks(self) -> Set[int]:
        """Return every indexed block."""
        return self._keys.keys()

    def watch(self, journal: CacheJournal | None) -> None:
        """Record what is indexed now, and from now on each change; None ends that."""
        self._journal = journal
        if journal is not None:
            # Node ids grow, so a parent comes before its children.
            for node, key in sorted((self._nodes[key][0], key) for key in self._keys.values()):
                journal.stored(node, *key)

    def cached_prefix(self, sequence: Sequence) -> int:
        """Return how many blocks of a sequence are indexed already."""
        path = self._paths.get(sequence)
        return path[0] if path else 0

    def find(self, sequence: Sequence, most: int) -> Prefix:
        """Return the longest indexed prefix of a sequence, of at most ``most`` blocks."""
        node: _Node = sequence.options.cache_salt
        blocks: list[int] = []
        for block_index in range(most):
            entry = self._nodes.get((node, self._tokens(sequence, block_index)))
            if entry is None:
                break
            node, block = entry
            blocks.append(block)
        return Prefix(blocks, node)

    def resume(self, sequence: Sequence, prefix: Prefix) -> None:
        """Record that a sequence continues from a prefix that ``find`` returned."""
        self._paths[sequence] = len(prefix.blocks), prefix.node

    def add(self, sequence: Sequence, block: int) -> int:
        """Index the next block of a sequence.

        Returns:
            The block that holds this prefix: ``block``, or one indexed before.
        """
        block_index, parent = self._paths.get(sequence) or (0, sequence.options.cache_salt)
        key = parent, self._tokens(sequence, block_index)
        entry = self._nodes.get(key)
        if entry is None:
            entry = next(self._ids), block
            self._nodes[key] = entry
            self._keys[block] = key
            if self._journal is not None:
                self._journal.stored(entry[0], *key)
        self._paths[sequence] = block_index + 1, entry[0]
        return entry[1]

    def forget(self, sequence: Sequence) -> None:
        """Forget a sequence; its blocks stay indexed."""
        self._paths.pop(sequence, None)

    def remove(self, block: int) -> None:
        """Remove a block."""
        node, _ = self._nodes.pop(self._keys.pop(block))
        if self._journal is not None:
            self._journal.removed(node)

    def _tokens(self, sequence: Sequence, block_index: int) -> bytes:
        """Return the tokens of one block.

        As bytes, because Python salts their hashes: with integers a client could construct
        prompts that collide and make each look-up linear.
        """
        size = 4 * self._block_size
        return bytes(sequence.token_bytes[block_index * size : (block_index + 1) * size])
