"""Journal of the blocks that the prefix cache stores and evicts.

The three kinds of event are vLLM's (``vllm/distributed/kv_events.py``), from which routers learn
which prefixes a server holds.
"""

from __future__ import annotations

import hashlib
from array import array
from dataclasses import dataclass, field

_HASH_BYTES = 8


@dataclass
class BlocksStored:
    """Blocks, each the next of one prefix, that can be found from now on."""

    parent: int | None
    """Hash of the block before the first one; None where that begins the prefix."""
    salt: str
    """Where the first block begins the prefix: digest of the salt that requests must share to find
    it; empty without one."""
    hashes: list[int] = field(default_factory=list)
    token_ids: list[int] = field(default_factory=list)
    """The tokens of all of them."""


@dataclass
class BlocksRemoved:
    """Blocks that were evicted."""

    hashes: list[int] = field(default_factory=list)


@dataclass
class CacheCleared:
    """The cache holds nothing any more."""


CacheEvent = BlocksStored | BlocksRemoved | CacheCleared


class CacheJournal:
    """Collects the events of one cache until they are taken.

    A block's hash is 64 bits of BLAKE2b over the hash before it and its tokens, so two servers
    give the same prefix the same hash. Nothing here depends on it: the cache itself compares
    tokens. Used by the engine's thread alone.
    """

    def __init__(self) -> None:
        self._hashes: dict[int, int] = {}
        """By node of the prefix index."""
        self._events: list[CacheEvent] = []

    def stored(self, node: int, parent: int | str, tokens: bytes) -> None:
        """Record a new node of the prefix index.

        Args:
            node: The node.
            parent: The node before it, or the salt where it begins a prefix.
            tokens: Its tokens, int32.
        """
        if isinstance(parent, str):
            before, salt = None, digest_of(parent)
            seed = salt.encode()
        else:
            before, salt = self._hashes[parent], ""
            seed = before.to_bytes(_HASH_BYTES, "big")
        made = hashlib.blake2b(tokens, digest_size=_HASH_BYTES, key=seed).digest()
        self._hashes[node] = int.from_bytes(made, "big")
        last = self._events[-1] if self._events else None
        if before is None or not isinstance(last, BlocksStored) or last.hashes[-1] != before:
            last = BlocksStored(before, salt)
            self._events.append(last)
        last.hashes.append(self._hashes[node])
        last.token_ids += array("i", tokens)

    def removed(self, node: int) -> None:
        """Record the eviction of a node."""
        last = self._events[-1] if self._events else None
        if not isinstance(last, BlocksRemoved):
            last = BlocksRemoved()
            self._events.append(last)
        last.hashes.append(self._hashes.pop(node))

    def take(self) -> list[CacheEvent]:
        """Return the events since the last call, in their order."""
        events, self._events = self._events, []
        return events


def digest_of(salt: str) -> str:
    """Return a text that stands for a salt and does not reveal it; empty without a salt."""
    return hashlib.blake2b(salt.encode(), digest_size=_HASH_BYTES).hexdigest() if salt else ""
