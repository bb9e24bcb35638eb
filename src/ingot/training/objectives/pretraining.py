"""Pretraining: predict every next token of a corpus."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ingot.corpus import PrefetchingSampler, Sampler
from ingot.corpus.segments import segments_of
from ingot.model.transformer import Transformer
from ingot.training.objectives.base import Batch
from ingot.training.objectives.next_token import next_token_loss


class Pretraining:
    """Windows of a corpus, drawn ahead by a thread; every prediction counts.

    Args:
        sampler: Draws the windows of one whole update; nobody else may use it.
        eos_id: The end-of-text token, if documents in one window must not see each other.
    """

    def __init__(self, sampler: Sampler, *, eos_id: int | None) -> None:
        self._sampler, self._eos_id = PrefetchingSampler(sampler), eos_id

    def next_batch(self) -> Batch:
        """Return the next windows."""
        windows = self._sampler.next_batch()
        segments = None if self._eos_id is None else segments_of(windows, self._eos_id)
        return Batch(windows, None, segments)

    def loss(self, model: Transformer, batch: Batch, device: torch.device) -> Tensor:
        """Return the summed cross-entropy in nats."""
        return next_token_loss(model, batch, device)

    def state(self) -> dict[str, int]:
        """Return the sampler's state."""
        return self._sampler.state()

    def restore(self, state: Mapping[str, int]) -> None:
        """Put the sampler back.

        Raises:
            CorpusError: the state is malformed, or belongs to another corpus, context or seed.
        """
        self._sampler.restore(state)

    @property
    def epoch(self) -> float:
        """Passes over the corpus so far, with the fraction of the current one."""
        return self._sampler.epoch

    @property
    def waited(self) -> float:
        """Seconds spent waiting for windows, in all."""
        return self._sampler.waited

    def close(self) -> None:
        """Stop drawing ahead; the corpus belongs to the caller."""
        self._sampler.close()
