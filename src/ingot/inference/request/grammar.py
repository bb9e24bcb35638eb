"""Interface of a grammar that constrains an answer.

``ingot.inference.request.grammar_compiler`` implements it, and is imported on demand.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray


class GrammarState(ABC):
    """Position of one answer in its grammar. Not thread-safe."""

    @abstractmethod
    def mask(self) -> NDArray[np.uint32]:
        """Return which tokens may come next: bit ``i % 32`` of word ``i // 32`` is token i's.

        The end of the text is allowed only where the grammar is satisfied.

        Raises:
            ServeError: the grammar is too costly to follow from here.
        """

    @abstractmethod
    def accept(self, token_id: int) -> bool:
        """Advance by a token; return whether the grammar allows it.

        Raises:
            ServeError: the grammar is too costly to follow from here.
        """

    @abstractmethod
    def rollback(self, count: int) -> None:
        """Undo the last ``count`` tokens."""

    @property
    @abstractmethod
    def complete(self) -> bool:
        """Whether only the end of the text may follow."""


class Grammar(ABC):
    """A compiled grammar; any number of sequences and threads may share it."""

    @abstractmethod
    def start(self) -> GrammarState:
        """Return a state at the beginning of the grammar."""
