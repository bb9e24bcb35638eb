"""PyTorch executor: for GPUs, and the reference for other executors.

Sizes as in ``ingot.model.transformer``: T rows of a step, B sequences that
decode, S positions in the cache, H query heads, G key-value heads, R = H/G query heads
that share one, K head width.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence as Seq
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from ingot.artifact import Ingot
from ingot.errors import ServeError, UsageError
from ingot.inference.config import EngineConfig
from ingot.inference.executors.base import (
    FEATURES,
    Failure,
    HiddenStates,
    ModelInput,
    Result,
    SamplingRow,
)
from ingot.inference.executors.sampling import draw, not_finite
from ingot.inference.executors.torch_weights import digests, load
from ingot.inference.request.sequence import SampledToken
from ingot.process import set_torch_threads, usable_cores

_ROWS_AT_ONCE = 64  # rows of scores in memory at once: 40 MB at a vocabulary of 150,000


class TorchExecutor:
    """Runs an ingot with PyTorch, on a CPU or a CUDA device.

    On a CPU the weights lie in read-only memory: the ingot's own mapping if the CPU can
    compute in the stored format, else a sealed float32 copy. A CUDA device has no
    read-only memory and gets a plain copy. Rows of a padded vocabulary are never sampled.

    Args:
        ingot: The model; may be closed afterwards.
        num_blocks: Blocks of the key-value cache; None takes ``EngineConfig``'s default.
        block_size: Tokens in a block.
        device: PyTorch's name of the device; None is the CPU.
        threads: CPU threads of PyTorch in this process; None takes all cores but one, at
            least one. PyTorch's threads wait for each other by spinning: if another
            thread, such as the server's, needs a core, one thread too many makes a small
            model a hundred times slower.

    Raises:
        UsageError: the device does not exist.
        ResourceError: not enough memory for converted weights.
    """

    def __init__(
        self,
        ingot: Ingot,
        *,
        num_blocks: int | None = None,
        block_size: int = 16,
        device: str | None = None,
        threads: int | None = None,
    ) -> None:
        set_torch_threads(threads or usable_cores() - 1)
        self.config = ingot.config
        self.block_size = block_size
        self.num_blocks = num_blocks or EngineConfig(block_size=block_size).blocks_for(self.config)
        self._device = _device(device)
        self.features = FEATURES
        # A quantized ingot is computed in float32 here, so its codes cannot be digested.
        records = {} if ingot.manifest.quantization else ingot.manifest.tensors
        self._stored: dict[str, str] = {name: record.dtype for name, record in records.items()}
        self._vocabulary = ingot.tokenizer.vocab_size
        self._transformer = load(ingot, self._device)
        shape = (
            self.num_blocks + 1,  # the last is never written: it fills up tables
            block_size,
            self.config.num_key_value_heads,
            self.config.head_dim,
        )
        dtype = self._transformer.head_weight.dtype
        layers = range(self.config.num_hidden_layers)
        self._keys = [_zeros(shape, dtype, self._device) for _ in layers]
        self._values = [_zeros(shape, dtype, self._device) for _ in layers]

    @torch.inference_mode()
    def step(self, inputs: Seq[ModelInput]) -> list[Result]:
        """Run every input; return one entry for each, None if it requested nothing.

        An input whose values are not finite, or whose mask allows no token, gives a ``Failure``.
        """
        # Decodes first: their rows are then contiguous and attend in one batched call.
        order = sorted(range(len(inputs)), key=lambda index: len(inputs[index].token_ids) > 1)
        ordered = [inputs[index] for index in order]
        ids = self._integers([token for model_input in ordered for token in model_input.token_ids])
        positions = self._integers(
            [position for model_input in ordered for position in _positions(model_input)]
        )
        attention = self._attention(ordered)
        hidden = self._transformer(ids, positions, attention)
        results: list[Result] = [None] * len(inputs)
        finite = _finite_rows(hidden)
        end = 0
        asking: list[tuple[int, ModelInput]] = []
        ends: list[int] = []
        for index, model_input in zip(order, ordered, strict=True):
            start, end = end, end + len(model_input.token_ids)
            if finite is not None and not finite[start:end].all():
                # Masked positions are multiplied by zero, which leaves a NaN as it is.
                attention.clear(start, end)
                position = model_input.start + end - start
                results[index] = Failure(str(not_finite("some values", position)))
            elif model_input.hidden:
                results[index] = HiddenStates(hidden[start:end].float().cpu().numpy())
            elif model_input.sampling is not None:
                asking.append((index, model_input))
                ends.append(end)
        samples = self._sample_rows(hidden, [model_input for _, model_input in asking], ends)
        for index, model_input in asking:
            count = len(model_input.verify_rows) + 1
            results[index] = _joined([next(samples) for _ in range(count)])
        return results

    def weight_digests(self) -> dict[str, str]:
        """Return the SHA-256 of each of the ingot's tensors, from the memory used to compute.

        A bfloat16 tensor that was widened to float32 is narrowed again, which is exact. Empty
        for a quantized ingot, whose codes are not kept.
        """
        return digests(self._transformer, self._stored)

    def yield_cpu(self, on: bool) -> None:
        """Do nothing: PyTorch's threads cannot be suspended."""

    def close(self) -> None:
        """Release the memory of weights and cache."""
        self._keys.clear()
        self._values.clear()
        del self._transformer

    def _sample_rows(
        self, hidden: Tensor, inputs: Seq[ModelInput], ends: Seq[int]
    ) -> Iterator[SampledToken | Failure]:
        """Yield the result of each row of each input, with few rows of scores in memory."""
        rows = [
            row
            for model_input in inputs
            for row in (*model_input.verify_rows, model_input.sampling)
            if row
        ]
        indices = [
            index
            for model_input, end in zip(inputs, ends, strict=True)
            for index in range(end - len(model_input.verify_rows) - 1, end)
        ]
        for first in range(0, len(rows), _ROWS_AT_ONCE):
            some = slice(first, first + _ROWS_AT_ONCE)
            logits = self._transformer.logits(hidden[self._integers(indices[some])])
            scores = logits[:, : self._vocabulary].float().cpu().numpy()
            yield from map(_sampled, scores, rows[some])

    def _integers(self, values: Seq[int] | np.ndarray) -> Tensor:
        return torch.as_tensor(values, dtype=torch.int64, device=self._device)

    def _attention(self, ordered: Seq[ModelInput]) -> _PagedAttention:
        """Prepare the slots, tables and masks that all layers share."""
        size = self.block_size
        slots = [
            model_input.block_table[position // size] * size + position % size
            for model_input in ordered
            for position in _positions(model_input)
        ]
        decodes = [model_input for model_input in ordered if len(model_input.token_ids) == 1]
        prefills = [self._prefill(model_input) for model_input in ordered[len(decodes) :]]
        return _PagedAttention(
            self._keys,
            self._values,
            self._integers(slots),
            self._decodes(decodes) if decodes else None,
            prefills,
        )

    def _decodes(self, inputs: Seq[ModelInput]) -> _Decodes:
        lengths = [model_input.start + 1 for model_input in inputs]
        longest = max(lengths)
        width = -(-longest // self.block_size)
        tables = np.full((len(inputs), width), self.num_blocks, dtype=np.int64)
        for row, model_input in zip(tables, inputs, strict=True):
            row[: len(model_input.block_table)] = model_input.block_table[:width]
        mask, window = None, self.config.sliding_window or longest
        if min(lengths) < longest or window < longest:
            positions = torch.arange(longest, device=self._device)
            ends = self._integers(lengths)[:, None]
            mask = ((positions < ends) & (positions >= ends - window))[:, None, None, :]
        return _Decodes(len(inputs), longest, self._integers(tables.reshape(-1)), mask)

    def _prefill(self, model_input: ModelInput) -> _Prefill:
        count = len(model_input.token_ids)
        end = model_input.start + count
        window = self.config.sliding_window or end
        if model_input.start == 0 and window >= end:
            return _Prefill(count, end, None, None)
        queries = torch.arange(model_input.start, end, device=self._device)[:, None]
        positions = torch.arange(end, device=self._device)
        mask = (positions <= queries) & (positions > queries - window)
        if model_input.start == 0:
            return _Prefill(count, end, None, mask)
        table = self._integers(model_input.block_table[: -(-end // self.block_size)])
        return _Prefill(count, end, table, mask)


@dataclass(frozen=True)
class _Decodes:
    """The B sequences that run one token each."""

    count: int
    longest: int
    """S: positions of the longest, the new one included."""
    blocks: Tensor
    """Block ids of all sequences, equally many each; short tables are padded with the block
    that is never written."""
    mask: Tensor | None
    """Which positions each may see (B, 1, 1, S); None if all are equally long."""


@dataclass(frozen=True)
class _Prefill:
    """One sequence that runs several tokens."""

    count: int
    end: int
    """S: positions up to the last of them."""
    blocks: Tensor | None
    """Block ids; None for the start of a sequence, which need not read the cache."""
    mask: Tensor | None
    """Which positions each token may see (count, S)."""


class _PagedAttention:
    """Attention of one step: writes its keys and values into the cache, then reads it."""

    def __init__(
        self,
        keys: list[Tensor],
        values: list[Tensor],
        slots: Tensor,
        decodes: _Decodes | None,
        prefills: list[_Prefill],
    ) -> None:
        self._keys, self._values, self._slots = keys, values, slots
        self._decodes, self._prefills = decodes, prefills

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor, /) -> Tensor:
        """Take q (T, H, K), k and v (T, G, K); return (T, H, K)."""
        keys, values = self._keys[layer], self._values[layer]
        keys.view(-1, *k.shape[1:]).index_copy_(0, self._slots, k)
        values.view(-1, *v.shape[1:]).index_copy_(0, self._slots, v)
        mixed: list[Tensor] = []
        row = 0
        if self._decodes is not None:
            row = self._decodes.count
            mixed.append(_decode(self._decodes, q[:row], keys, values))
        for prefill in self._prefills:
            rows = slice(row, row := row + prefill.count)
            seen_k, seen_v = k[rows], v[rows]
            if prefill.blocks is not None:
                seen_k = _gather(keys, prefill.blocks, 1)[0, : prefill.end]
                seen_v = _gather(values, prefill.blocks, 1)[0, : prefill.end]
            mixed.append(_prefill(q[rows], seen_k, seen_v, prefill.mask))
        return mixed[0] if len(mixed) == 1 else torch.cat(mixed)

    def clear(self, start: int, end: int) -> None:
        """Overwrite what rows [start, end) of the step left in the cache with zeros."""
        for cache in (*self._keys, *self._values):
            cache.view(-1, *cache.shape[2:]).index_fill_(0, self._slots[start:end], 0.0)


def _decode(decodes: _Decodes, q: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Attend from one token of each sequence: q (B, H, K) to (B, H, K)."""
    count, groups = decodes.count, keys.shape[2]
    seen_k = _gather(keys, decodes.blocks, count)[:, : decodes.longest].transpose(1, 2)
    seen_v = _gather(values, decodes.blocks, count)[:, : decodes.longest].transpose(1, 2)
    # The R heads that share keys become R queries, so that the keys are not repeated.
    q = q.view(count, groups, -1, q.shape[-1])
    mixed = functional.scaled_dot_product_attention(q, seen_k, seen_v, attn_mask=decodes.mask)
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


def _finite_rows(hidden: Tensor) -> NDArray[np.bool_] | None:
    """Return which rows (T,) hold finite values alone; None if all do."""
    finite = hidden.isfinite().all(dim=-1)
    return None if bool(finite.all()) else finite.cpu().numpy()


def _sampled(scores: NDArray[np.float32], row: SamplingRow) -> SampledToken | Failure:
    """Sample for one row; an error concerns its own sequence alone."""
    try:
        return draw(scores, row)
    except ServeError as error:
        return Failure(str(error))


def _joined(sampled: Seq[SampledToken | Failure]) -> SampledToken | Failure:
    """Return the tokens of one input, the last one first; or its first failure."""
    tokens: list[SampledToken] = []
    for one in sampled:
        if isinstance(one, Failure):
            return one
        tokens.append(one)
    return tokens[-1]._replace(verified=tuple(tokens[:-1]))


def _positions(model_input: ModelInput) -> range:
    return range(model_input.start, model_input.start + len(model_input.token_ids))


def _device(name: str | None) -> torch.device:
    """Return the named device after checking that it exists."""
    try:
        device = torch.device(name or "cpu")
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # what PyTorch raises without CUDA
        raise UsageError(
            f"is not a device that PyTorch can use here ({str(error).splitlines()[0]})",
            where=f"device {name!r}",
            fix="use cpu",
        ) from error
    return device


def _zeros(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return zeros whose memory is allocated on first use.

    Zeros, because padded tables read blocks that were never written, and a NaN there
    would pass through any mask.
    """
    if device.type != "cpu":
        return torch.zeros(shape, dtype=dtype, device=device)
    values = int(np.prod(shape))
    return torch.from_numpy(np.zeros(values * dtype.itemsize, np.uint8)).view(dtype).view(shape)
