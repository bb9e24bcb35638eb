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
    """Conversations packed into sequences; only answers count, and none sees another.

    Args:
        examples: The conversations.
        context: Tokens that a sequence predicts; no example is longer than one more.
        batch: Sequences in one whole update.
        seed: Decides the order in each epoch, and so which examples share a sequence.
        eos_id: The token to pad with; it does not count.
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
        self._sequences = Epochs(self._plan, identity)

    def next_batch(self) -> Batch:
        """Return the next sequences: ids (B, T+1), mask and segments (B, T)."""
        return self._batch_of(self._sequences.take(self._batch))

    def all_batches(self) -> Iterator[Batch]:
        """Yield every example once, independently of ``next_batch``."""
        sequences = self._plan(0)
        for start in range(0, len(sequences), self._batch):
            yield self._batch_of(sequences[start : start + self._batch])

    def _batch_of(self, sequences: Sequence[Sequence[int]]) -> Batch:
        shape = (len(sequences), self._context + 1)
        ids = np.full(shape, self._eos_id, dtype=np.int64)
        answers = np.zeros(shape, dtype=np.bool_)
        segments = np.zeros(shape, dtype=np.int32)
        for row, sequence in enumerate(sequences):
            end = 0
            for segment, example in enumerate(sequence):
                start, stop = self._examples.starts[example : example + 2]
                span = slice(end, end := end + int(stop - start))
                ids[row, span] = self._examples.ids[start:stop]
                answers[row, span] = self._examples.answers[start:stop]
                answers[row, span.start] = False  # the token before it is another example's
                segments[row, span] = segment
            segments[row, end:] = len(sequence)
        return Batch(ids, answers[:, 1:], segments[:, :-1])

    def loss(self, model: Transformer, batch: Batch, device: torch.device) -> Tensor:
        """Return the cross-entropy summed over the answers' tokens, in nats."""
        return next_token_loss(model, batch, device)

    def state(self) -> dict[str, int]:
        """Return epoch, position in it and the identity of the examples."""
        return self._sequences.state()

    def restore(self, state: Mapping[str, int]) -> None:
        """Restore a state.

        Raises:
            CorpusError: the state is malformed, or belongs to other examples or settings.
        """
        self._sequences.restore(state)

    @property
    def epoch(self) -> float:
        """Passes over the examples so far, with the fraction of the current one."""
        return self._sequences.epoch

    def close(self) -> None:
        """Do nothing: the examples are in memory."""

    def _plan(self, epoch: int) -> list[list[int]]:
        order = shuffled(len(self._examples), self._seed, epoch)
        return pack(np.diff(self._examples.starts), order, self._context + 1)
