"""A prompt with one answer, as tokens."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class ScoredTokens:
    """A prompt with one answer to it, as tokens."""

    ids: NDArray[np.int32]
    """All tokens, (N,)."""
    counted: NDArray[np.bool_]
    """Which of them are the answer's, (N,); never the first, which nothing predicts."""

    def cut(self, length: int) -> ScoredTokens:
        """Return the first ``length`` tokens."""
        return ScoredTokens(self.ids[:length], self.counted[:length])
