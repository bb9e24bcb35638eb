"""Direct preference optimisation: make the chosen answer likelier than the rejected one.

Source: Rafailov and others, "Direct Preference Optimization", arXiv:2305.18290.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from ingot.errors import RecipeError
from ingot.model.transformer import Transformer
from ingot.training.compute.precision import Precision, on_device
from ingot.training.data.batch import Batch
from ingot.training.data.epochs import Epochs, fingerprint, shuffled
from ingot.training.data.preference_pairs import Pairs
from ingot.training.objectives.answers import log_probabilities, padded
from ingot.training.objectives.next_token import row_log_probabilities


@dataclass(frozen=True)
class PreferenceBatch(Batch):
    """Rows in twos: a chosen answer, then the rejected one, each after the prompt."""

    reference: NDArray[np.float32]
    """Log-probability of each row's answer under the starting weights, (B,)."""

    ROWS_PER_UNIT: ClassVar[int] = 2

    @property
    def weight(self) -> float:
        """The number of pairs."""
        return len(self.ids) / 2


class Preference:
    """Pairs of answers, and how far the model has moved from its starting weights on them.

    Args:
        pairs: The pairs.
        model: The model with its starting weights, on its device; only read, and only here.
        batch: Pairs in one whole update.
        beta: How strongly the model is held to its starting weights; above 0.
        seed: Decides the order in each epoch.
        eos_id: The token that fills rows up; it does not count.
        precision: The arithmetic of the starting weights' log-probabilities.

    Raises:
        RecipeError: ``beta`` is not above 0.
    """

    def __init__(
        self,
        pairs: Pairs,
        model: Transformer,
        *,
        batch: int,
        beta: float,
        seed: int,
        eos_id: int,
        precision: Precision,
    ) -> None:
        if not 0 < beta < float("inf"):
            raise RecipeError(f"{beta} is not above 0", where="beta", fix="try 0.1")
        self._answers = [side for pair in pairs.pairs for side in (pair.chosen, pair.rejected)]
        self._batch, self._beta, self._eos_id = batch, beta, eos_id
        self._reference = log_probabilities(model, self._answers, eos_id, precision)
        identity = {
            "pairs": len(pairs),
            "data": fingerprint(*(answer.ids for answer in self._answers)),
            "seed": seed,
        }
        self._seed = seed
        self._order = Epochs(self._plan, identity)

    def next_batch(self) -> PreferenceBatch:
        """Return the next pairs, as long as the longest of them."""
        return self._batch_of(self._order.take(self._batch))

    def all_batches(self) -> Iterator[PreferenceBatch]:
        """Yield every pair once, whatever ``next_batch`` gave."""
        order = self._plan(0)
        for start in range(0, len(order), self._batch):
            yield self._batch_of(order[start : start + self._batch])

    def _batch_of(self, pairs: Sequence[int]) -> PreferenceBatch:
        rows = [row for pair in pairs for row in (2 * pair, 2 * pair + 1)]
        batch = padded([self._answers[row] for row in rows], self._eos_id)
        return PreferenceBatch(batch.ids, batch.mask, None, self._reference[rows])

    def loss(self, model: Transformer, batch: Batch, device: torch.device) -> Tensor:
        """Return the sum over pairs of -log sigmoid(beta · (chosen's gain - rejected's)).

        An answer's gain is its log-probability less what it was under the starting weights.
        """
        if not isinstance(batch, PreferenceBatch):
            raise TypeError("a preference batch is wanted")
        reference = on_device(batch.reference, device)
        gains = row_log_probabilities(model, batch, device) - reference
        chosen, rejected = gains.view(-1, 2).unbind(1)
        return -functional.logsigmoid(self._beta * (chosen - rejected)).sum()

    def state(self) -> dict[str, int]:
        """Return epoch, position in it and the identity of the pairs."""
        return self._order.state()

    def restore(self, state: Mapping[str, int]) -> None:
        """Restore a state.

        Raises:
            CorpusError: the state is malformed, or belongs to other pairs or settings.
        """
        self._order.restore(state)

    @property
    def epoch(self) -> float:
        """Passes over the pairs so far, with the fraction of the current one."""
        return self._order.epoch

    def close(self) -> None:
        """Do nothing: the pairs are in memory."""

    def _plan(self, epoch: int) -> list[int]:
        order: list[int] = shuffled(len(self._answers) // 2, self._seed, epoch).tolist()
        return order
