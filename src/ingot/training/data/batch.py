"""Batches of token sequences."""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from ingot.errors import RecipeError


@dataclass(frozen=True)
class Batch:
    """Sequences of tokens of one whole update: all processes and accumulation steps together."""

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
