"""Snapshot of a batch: which sequences run and wait, and who holds the blocks of the cache."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

import numpy as np

from ingot.inference.request.sequence import Sequence, Status
from ingot.inference.scheduling.kv_cache import KVCache
from ingot.inference.scheduling.service_classes import ServiceClasses

MOST_LISTED = 64
"""Sequences of each list that a snapshot describes."""
MOST_CELLS = 512
"""Cells that a snapshot's map of blocks has at most."""
EMPTY, CACHED, SHARED, UNLISTED = -1, -2, -3, -4
"""Cells without one listed owner: empty; free but found by its prefix; held by several sequences;
held by a sequence past ``MOST_LISTED``."""


@dataclass(frozen=True)
class SequenceSnapshot:
    """A sequence as it stands between two steps, without its text."""

    id: int
    tenant: str
    """Who sent it: the name of an API key, or empty."""
    prompt_tokens: int
    cached_tokens: int
    """Of the prompt, found in the prefix cache when it first ran."""
    computed: int
    """Tokens whose keys and values are in the cache."""
    written: int
    """Tokens of its answer so far."""
    max_tokens: int
    """Tokens that its answer may have."""
    blocks: int
    """Blocks of the cache that it holds, shared ones included."""
    seconds: float
    """Since it arrived."""


@dataclass(frozen=True)
class BatchSnapshot:
    """An engine's batch, queue and cache between two steps."""

    running: tuple[SequenceSnapshot, ...]
    """In order of admission, at most ``MOST_LISTED``."""
    waiting: tuple[SequenceSnapshot, ...]
    """At most ``MOST_LISTED``."""
    running_total: int
    waiting_total: int
    block_size: int
    """Tokens in a block."""
    blocks_total: int
    blocks_held: int
    blocks_cached: int
    """Blocks that no sequence holds but whose prefix can be found."""
    blocks_per_cell: int
    cells: tuple[int, ...]
    """The blocks in order of their ids: the index of the owner in ``running``, or one of the
    negative codes. Of a cell of several blocks: the owner of one that is held, if any is."""


def take_snapshot(scheduler: ServiceClasses, cache: KVCache) -> BatchSnapshot:
    """Return a snapshot; O(blocks held) in native code, so call it between steps only."""
    now = time.monotonic()
    running, waiting = scheduler.running, scheduler.waiting
    per_cell = -(-cache.num_blocks // MOST_CELLS)
    return BatchSnapshot(
        running=_described(running, now),
        waiting=_described(waiting, now),
        running_total=len(running),
        waiting_total=len(waiting),
        block_size=cache.block_size,
        blocks_total=cache.num_blocks,
        blocks_held=cache.num_blocks - cache.free_blocks,
        blocks_cached=len(cache.unused_blocks),
        blocks_per_cell=per_cell,
        cells=_cells(running, cache, per_cell),
    )


def _described(sequences: Iterable[Sequence], now: float) -> tuple[SequenceSnapshot, ...]:
    return tuple(
        SequenceSnapshot(
            id=one.id,
            tenant=one.options.tenant,
            prompt_tokens=len(one.prompt_ids),
            cached_tokens=one.cached_tokens or 0,
            computed=one.computed if one.status is Status.RUNNING else 0,
            written=len(one.output_ids),
            max_tokens=one.params.max_tokens,
            blocks=len(one.block_table),
            seconds=now - one.arrived,
        )
        for one in islice(sequences, MOST_LISTED)
    )


def _cells(running: list[Sequence], cache: KVCache, per_cell: int) -> tuple[int, ...]:
    owners = np.full(cache.num_blocks, EMPTY, np.int32)
    holders = np.zeros(cache.num_blocks, np.int32)
    owners[np.fromiter(cache.unused_blocks, np.int64)] = CACHED
    for index, sequence in enumerate(running):
        table = np.asarray(sequence.block_table, np.int64)
        owners[table] = index if index < MOST_LISTED else UNLISTED
        holders[table] += 1
    owners[holders > 1] = SHARED
    if per_cell > 1:
        padded = np.full(-(-cache.num_blocks // per_cell) * per_cell, EMPTY, np.int32)
        padded[: cache.num_blocks] = owners
        groups = padded.reshape(-1, per_cell)
        # A cell shows what is rarest to miss: an owner before cached before empty.
        rank = np.select([groups >= 0, groups == EMPTY, groups == CACHED], [3, 0, 1], 2)
        owners = groups[np.arange(len(groups)), rank.argmax(axis=1)]
    return tuple(owners.tolist())
