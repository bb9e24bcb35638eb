"""Finding a cached block by the tokens in it and all that come before them."""

from __future__ import annotations

import itertools
from collections.abc import Set
from typing import NamedTuple

from ingot.inference.request.sequence import Sequence

_Node = int | str
_Key = tuple[_Node, bytes]


class Prefix(NamedTuple):
    """Blocks that hold the start of a sequence, and the node of the last of them."""

    blocks: list[int]
    node: _Node


class PrefixIndex:
    """A tree of full blocks, one node for each distinct prefix.

    A node is known by its parent and its own tokens, both compared and not only
    hashed: no collision can hand one request another's keys and values. The root is
    the sequence's salt, so those with different salts never meet. Node ids are never
    used again: what hangs below a node that was removed can no longer be found.

    Args:
        block_size: Tokens in a block.
    """

    def __init__(self, block_size: int) -> None:
        self._block_size = block_size
        self._nodes: dict[_Key, tuple[int, int]] = {}  # to (node, block)
        self._keys: dict[int, _Key] = {}  # by block
        self._paths: dict[Sequence, tuple[int, _Node]] = {}  # blocks published, and the last's node
        self._ids = itertools.count()

    def __len__(self) -> int:
        return len(self._keys)

    def __contains__(self, block: int) -> bool:
        return block in self._keys

    def blocks(self) -> Set[int]:
        """Return every block that can be found."""
        return self._keys.keys()

    def cached_prefix(self, sequence: Sequence) -> int:
        """Return how many blocks at the start of a sequence can be found."""
        path = self._paths.get(sequence)
        return path[0] if path else 0

    def find(self, sequence: Sequence, most: int) -> Prefix:
        """Return the longest run of blocks, at most ``most``, that hold a sequence's start."""
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
        """Let a sequence go on from a prefix that was found for it."""
        self._paths[sequence] = len(prefix.blocks), prefix.node

    def add(self, sequence: Sequence, block: int) -> int:
        """Make the next block of a sequence findable.

        Returns:
            The block that holds this prefix: ``block``, or one that was there before.
        """
        block_index, parent = self._paths.get(sequence) or (0, sequence.options.cache_salt)
        key = parent, self._tokens(sequence, block_index)
        entry = self._nodes.get(key)
        if entry is None:
            entry = next(self._ids), block
            self._nodes[key] = entry
            self._keys[block] = key
        self._paths[sequence] = block_index + 1, entry[0]
        return entry[1]

    def forget(self, sequence: Sequence) -> None:
        """Forget how far a sequence is; its blocks stay findable."""
        self._paths.pop(sequence, None)

    def remove(self, block: int) -> None:
        """Make a block unfindable."""
        del self._nodes[self._keys.pop(block)]

    def _tokens(self, sequence: Sequence, block_index: int) -> bytes:
        """Return the tokens of one block; as bytes, whose hashes nobody can foresee."""
        size = 4 * self._block_size
        return bytes(sequence.token_bytes[block_index * size : (block_index + 1) * size])
