"""Pretraining: predict every next token of a corpus."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from ingot.corpus import PrefetchingSampler, Sampler
from ingot.corpus.sampling.segments import segments_of
from ingot.model.transformer import Transformer
from ingot.training.compute.precision import on_device
from ingot.training.data.batch import Batch
from ingot.training.objectives.next_token import hidden_states, next_token_loss
from ingot.training.objectives.ngram_soft_labels import NgramSoftLabels


class Pretraining:
    """Sequences of a corpus, prefetched by a thread; every prediction counts.

    Args:
        sampler: Draws the sequences of one whole update; for this objective alone.
        eos_id: The end-of-text token, if documents in one sequence must not see each other.
        soft_labels: Targets instead of the tokens, if given.
        soft_epochs: Passes over the corpus in which they fade to the tokens.
    """

    def __init__(
        self,
        sampler: Sampler,
        *,
        eos_id: int | None,
        soft_labels: NgramSoftLabels | None = None,
        soft_epochs: float = 1.0,
    ) -> None:
        self._soft_labels, self._soft_epochs = soft_labels, soft_epochs
        self._sampler, self._eos_id = PrefetchingSampler(sampler), eos_id

    def next_batch(self) -> Batch:
        """Return the next sequences."""
        sequences = self._sampler.next_batch()
        segments = None if self._eos_id is None else segments_of(sequences, self._eos_id)
        return Batch(sequences, None, segments)

    def loss(self, model: Transformer, batch: Batch, device: torch.device) -> Tensor:
        """Return the summed cross-entropy in nats, against the soft labels if there are any."""
        share = max(0.0, 1 - self.epoch / self._soft_epochs)
        if self._soft_labels is None or share == 0:
            return next_token_loss(model, batch, device)
        targets = self._soft_labels.targets(batch.ids).mul_(share)
        tokens = torch.from_numpy(batch.ids[:, 1:]).reshape(-1, 1)
        targets.scatter_add_(1, tokens, torch.full(tokens.shape, 1 - share))
        targets = on_device(targets, device)
        logits = model.logits(hidden_states(model, batch, device)).flatten(0, 1).float()
        return functional.cross_entropy(logits, targets, reduction="sum")

    def state(self) -> dict[str, int]:
        """Return the sampler's state."""
        return self._sampler.state()

    def restore(self, state: Mapping[str, int]) -> None:
        """Restore a state.

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
        """Seconds spent waiting for sequences, in all."""
        return self._sampler.waited

    def close(self) -> None:
        """Stop prefetching; the corpus belongs to the caller."""
        self._sampler.close()
