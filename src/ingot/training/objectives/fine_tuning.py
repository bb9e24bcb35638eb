"""Supervised fine-tuning: learn the assistant's part of conversations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from ingot.model.transformer import Transformer
from ingot.training.data.batch import Batch
from ingot.training.data.conversations import Examples
from ingot.training.data.epochs import Epochs, fingerprint, shuffled
from ingot.training.data.packing import pack
from ingot.training.objectives.next_token import next_token_loss


class FineTuning:
    """Conversations packed into windows; only answers count, and none sees another.

    Args:
        examples: The conversations.
        context: Tokens that a window predicts; no example is longer than one more.
        batch: Windows in one whole update.
        seed: Decides the order in each epoch, and so which examples share a window.
        eos_id: The token that fills windows up; it does not count.
    """

    def __init__(
        self, examples: Examples, *, context: int, batch: int, seed: int, eos_id: int
    ) -> None:
        self._examples, self._context = examples, context
        self._batch, self._seed, self._eos_id = batch, seed, eos_id
        identity = {
            "examples": len(examples),
            "data": fingerprint(examples.ids, examples.answers, examples.starts),
            "context": context,
            "seed": seed,
        }
        self._windows = Epochs(self._plan, identity)

    def next_batch(self) -> Batch:
        """Return the next windows: ids (B, T+1), mask and segments (B, T)."""
        return self._batch_of(self._windows.take(self._batch))

    def all_batches(self) -> Iterator[Batch]:
        """Yield every example once, whatever ``next_batch`` gave."""
        windows = self._plan(0)
        for start in range(0, len(windows), self._batch):
            yield self._batch_of(windows[start : start + self._batch])

    def _batch_of(self, windows: Sequence[Sequence[int]]) -> Batch:
        shape = (len(windows), self._context + 1)
        ids = np.full(shape, self._eos_id, dtype=np.int64)
        answers = np.zeros(shape, dtype=np.bool_)
        segments = np.zeros(shape, dtype=np.int32)
        for row, window in enumerate(windows):
            end = 0
            for segment, example in enumerate(window):
                start, stop = self._examples.starts[example : example + 2]
                span = slice(end, end := end + int(stop - start))
                ids[row, span] = self._examples.ids[start:stop]
                answers[row, span] = self._examples.answers[start:stop]
                answers[row, span.start] = False  # the token before it is another example's
                segments[row, span] = segment
            segments[row, end:] = len(window)
        return Batch(ids, answers[:, 1:], segments[:, :-1])

    def loss(self, model: Transformer, batch: Batch, device: torch.device) -> Tensor:
        """Return the cross-entropy summed over the answers' tokens, in nats."""
        return next_token_loss(model, batch, device)

    def state(self) -> dict[str, int]:
        """Return epoch and position in it, and what tells these examples from others."""
        return self._windows.state()

    def restore(self, state: Mapping[str, int]) -> None:
        """Go on where ``state`` was taken.

        Raises:
            CorpusError: the state is malformed, or belongs to other examples or settings.
        """
        self._windows.restore(state)

    @property
    def epoch(self) -> float:
        """Passes over the examples so far, with the fraction of the current one."""
        return self._windows.epoch

    def close(self) -> None:
        """Nothing is held: the examples are in memory."""

    def _plan(self, epoch: int) -> list[list[int]]:
        order = shuffled(len(self._examples), self._seed, epoch)
        return pack(np.diff(self._examples.starts), order, self._context + 1)
