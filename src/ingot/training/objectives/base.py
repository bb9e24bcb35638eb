"""What a task is to the trainer: batches, and the loss of a batch."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ingot.errors import RecipeError
from ingot.model.transformer import Transformer


@dataclass(frozen=True)
class Batch:
    """Windows of tokens of one whole update: all processes and accumulation steps together."""

    ids: NDArray[np.int64]
    """Tokens, shape (B, T+1): each position but the last predicts the next."""
    mask: NDArray[np.bool_] | None
    """Which predictions count, shape (B, T); None for all."""
    segments: NDArray[np.int32] | None
    """Example or document of each input token, shape (B, T).

    Attention does not cross from one to another, and positions restart at 0 in
    each. None where a row is one segment.
    """

    ROWS_PER_UNIT: ClassVar[int] = 1
    """Rows that mean something only together."""

    @property
    def weight(self) -> float:
        """What the summed loss is divided by: the number of predictions that count."""
        if self.mask is None:
            return float(self.ids.shape[0] * (self.ids.shape[1] - 1))
        return float(self.mask.sum())

    def split(self, parts: int) -> list[Self]:
        """Cut into ``parts`` batches of consecutive rows whose sizes differ by at most one unit.

        Raises:
            RecipeError: there are fewer units than parts.
        """
        unit = self.ROWS_PER_UNIT
        units = len(self.ids) // unit
        if not 1 <= parts <= units:
            raise RecipeError(
                f"one update holds {units} sequences, too few for {parts} parts",
                where="batch",
                fix=f"use at most {units} processes times accumulation steps, or more sequences",
            )
        borders = [units * part // parts * unit for part in range(parts + 1)]
        return [self._rows(slice(first, end)) for first, end in itertools.pairwise(borders)]

    def _rows(self, rows: slice) -> Self:
        arrays = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        taken = {name: array[rows] for name, array in arrays.items() if array is not None}
        return dataclasses.replace(self, **taken)


class Objective(Protocol):
    """A task: where batches come from, and what is minimised over them."""

    def next_batch(self) -> Batch:
        """Return the next update's batch."""

    def loss(self, model: Transformer, batch: Batch, device: torch.device) -> Tensor:
        """Return the loss, a float32 scalar: summed over what ``batch.weight`` counts, no mean."""

    def state(self) -> dict[str, int]:
        """Return what ``restore`` needs to go on with the very next batch."""

    def restore(self, state: Mapping[str, int]) -> None:
        """Go on where ``state`` was taken.

        Raises:
            CorpusError: the state is malformed, or belongs to other data or settings.
        """

    @property
    def epoch(self) -> float:
        """Passes over the data so far, with the fraction of the current one."""

    def close(self) -> None:
        """Let go of files and threads."""
