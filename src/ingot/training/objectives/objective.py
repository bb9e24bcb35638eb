"""What a task is to the trainer: batches, and the loss of a batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor

from ingot.model.transformer import Transformer
from ingot.training.data.batch import Batch


class Objective(Protocol):
    """A task: where batches come from, and what is minimised over them."""

    def next_batch(self) -> Batch:
        """Return the next update's batch."""

    def loss(self, model: Transformer, batch: Batch, device: torch.device) -> Tensor:
        """Return the loss, a float32 scalar: summed over what ``batch.weight`` counts, no mean."""

    def state(self) -> dict[str, int]:
        """Return what ``restore`` needs to resume with the very next batch."""

    def restore(self, state: Mapping[str, int]) -> None:
        """Resume where ``state`` was taken.

        Raises:
            CorpusError: the state is malformed, or belongs to other data or settings.
        """

    @property
    def epoch(self) -> float:
        """Passes over the data so far, with the fraction of the current one."""

    def close(self) -> None:
        """Let go of files and threads."""
