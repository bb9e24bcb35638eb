"""PyTorch executor: for GPUs, and the reference for other executors."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence as Seq

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

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
from ingot.inference.executors.torch_attention import Decodes, PagedAttention, Prefill
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
        context: Longest context that will be run, which chooses between the frequencies of
            "longrope"; None takes the model's own.

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
        context: int | None = None,
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
        self._transformer = load(ingot, self._device, context)
        shape = (
            self.num_blocks + 1,  # the last is never written: it fills up tables
            block_size,
            self.config.num_key_value_heads,
            self.config.head_dim,
        )
        dtype = self._transformer.head_weight.dtype
        layers = range(self.config.num_hidden_layers)
        windows = [self.config.window_of(layer) for layer in layers]
        self._windows = tuple(dict.fromkeys(windows))
        self._kinds = [self._windows.index(window) for window in windows]
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

    def try_step(self, inputs: Seq[ModelInput]) -> list[Result]:
        """Run every input, as ``step``: PyTorch's work cannot be interrupted."""
        return self.step(inputs)

    def interrupt(self, on: bool) -> None:
        """Do nothing: PyTorch's work cannot be interrupted."""

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

    def _attention(self, ordered: Seq[ModelInput]) -> PagedAttention:
        """Prepare the slots, tables and masks that all layers share."""
        size = self.block_size
        slots = [
            model_input.block_table[position // size] * size + position % size
            for model_input in ordered
            for position in _positions(model_input)
        ]
        decodes = [model_input for model_input in ordered if len(model_input.token_ids) == 1]
        prefills = [self._prefill(model_input) for model_input in ordered[len(decodes) :]]
        return PagedAttention(
            self._keys,
            self._values,
            self._integers(slots),
            self._decodes(decodes) if decodes else None,
            prefills,
            self._kinds,
        )

    def _decodes(self, inputs: Seq[ModelInput]) -> Decodes:
        lengths = [model_input.start + 1 for model_input in inputs]
        longest = max(lengths)
        width = -(-longest // self.block_size)
        tables = np.full((len(inputs), width), self.num_blocks, dtype=np.int64)
        for row, model_input in zip(tables, inputs, strict=True):
            row[: len(model_input.block_table)] = model_input.block_table[:width]
        positions = torch.arange(longest, device=self._device)
        ends = self._integers(lengths)[:, None]

        def mask(window: int | None) -> Tensor | None:
            near = window or longest
            if min(lengths) == longest and near >= longest:
                return None
            return ((positions < ends) & (positions >= ends - near))[:, None, None, :]

        masks = tuple(map(mask, self._windows))
        return Decodes(len(inputs), longest, self._integers(tables.reshape(-1)), masks)

    def _prefill(self, model_input: ModelInput) -> Prefill:
        count = len(model_input.token_ids)
        end = model_input.start + count
        queries = torch.arange(model_input.start, end, device=self._device)[:, None]
        positions = torch.arange(end, device=self._device)

        def mask(window: int | None) -> Tensor | None:
            near = window or end
            if model_input.start == 0 and near >= end:
                return None
            return (positions <= queries) & (positions > queries - near)

        masks = tuple(map(mask, self._windows))
        if model_input.start == 0:
            return Prefill(count, end, None, masks)
        table = self._integers(model_input.block_table[: -(-end // self.block_size)])
        return Prefill(count, end, table, masks)


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
