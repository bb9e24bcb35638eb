"""Attention of one step in PyTorch, over a paged cache of keys and values.

Shapes: T rows of a step, B sequences that decode, S positions in the cache, H query heads, G
key-value heads, R = H/G query heads that share one, K head width. A kind of layer is a sliding
window, or none: layers of a kind see the same positions.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Decodes:
    """The B sequences that run one token each."""

    count: int
    longest: int
    """S: positions of the longest, the new one included."""
    blocks: Tensor
    """Block ids of all sequences, equally many each; short tables are padded with the block
    that is never written."""
    masks: tuple[Tensor | None, ...]
    """Which positions each may see (B, 1, 1, S), by kind of layer; None if it sees them all."""


@dataclass(frozen=True)
class Prefill:
    """One sequence that runs several tokens."""

    count: int
    end: int
    """S: positions up to the last of them."""
    blocks: Tensor | None
    """Block ids; None for the start of a sequence, which need not read the cache."""
    masks: tuple[Tensor | None, ...]
    """Which positions each token may see (count, S), by kind of layer; None if causal."""


class PagedAttention:
    """Attention of one step: writes its keys and values into the cache, then reads it."""

    def __init__(
        self,
        keys: list[Tensor],
        values: list[Tensor],
        slots: Tensor,
        decodes: Decodes | None,
        prefills: list[Prefill],
        kinds: list[int],
    ) -> None:
        self._keys, self._values, self._slots = keys, values, slots
        self._decodes, self._prefills, self._kinds = decodes, prefills, kinds

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor, /) -> Tensor:
        """Take q (T, H, K), k and v (T, G, K); return (T, H, K)."""
        keys, values, kind = self._keys[layer], self._values[layer], self._kinds[layer]
        keys.view(-1, *k.shape[1:]).index_copy_(0, self._slots, k)
        values.view(-1, *v.shape[1:]).index_copy_(0, self._slots, v)
        mixed: list[Tensor] = []
        row = 0
        if self._decodes is not None:
            row = self._decodes.count
            mixed.append(_decode(self._decodes, q[:row], keys, values, kind))
        for prefill in self._prefills:
            rows = slice(row, row := row + prefill.count)
            seen_k, seen_v = k[rows], v[rows]
            if prefill.blocks is not None:
                seen_k = _gather(keys, prefill.blocks, 1)[0, : prefill.end]
                seen_v = _gather(values, prefill.blocks, 1)[0, : prefill.end]
            mixed.append(_prefill(q[rows], seen_k, seen_v, prefill.masks[kind]))
        return mixed[0] if len(mixed) == 1 else torch.cat(mixed)

    def clear(self, start: int, end: int) -> None:
        """Overwrite what rows [start, end) of the step left in the cache with zeros."""
        for cache in (*self._keys, *self._values):
            cache.view(-1, *cache.shape[2:]).index_fill_(0, self._slots[start:end], 0.0)


def _decode(decodes: Decodes, q: Tensor, keys: Tensor, values: Tensor, kind: int) -> Tensor:
    """Attend from one token of each sequence in a kind of layer: q (B, H, K) to (B, H, K)."""
    count, groups = decodes.count, keys.shape[2]
    seen_k = _gather(keys, decodes.blocks, count)[:, : decodes.longest].transpose(1, 2)
    seen_v = _gather(values, decodes.blocks, count)[:, : decodes.longest].transpose(1, 2)
    # The R heads that share keys become R queries, so that the keys are not repeated.
    q, mask = q.view(count, groups, -1, q.shape[-1]), decodes.masks[kind]
    mixed = functional.scaled_dot_product_attention(q, seen_k, seen_v, attn_mask=mask)
    return mixed.flatten(1, 2)


def _gather(cache: Tensor, blocks: Tensor, count: int) -> Tensor:
    """Copy blocks of the cache, equally many for each of ``count`` sequences: (count, S, G, K).

    On a CPU ``index_select`` is six times as fast as ``cache[blocks]``.
    """
    return cache.index_select(0, blocks).view(count, -1, *cache.shape[2:])


def _prefill(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """Attend from consecutive tokens of one sequence: q (T, H, K), k and v (S, G, K)."""
    mixed = functional.scaled_dot_product_attention(
        q.transpose(0, 1)[None],
        k.transpose(0, 1)[None],
        v.transpose(0, 1)[None],
        attn_mask=mask,
        is_causal=mask is None,
        enable_gqa=True,
    )
    return mixed[0].transpose(0, 1)
