"""A grammar that an answer follows, as the engine sees it.

``ingot.inference.request.grammar_compiler`` compiles grammars; it is loaded only by who needs one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray


class GrammarState(ABC):
    """Where one answer is in its grammar. Not thread-safe."""

    @abstractmethod
    def mask(self) -> NDArray[np.uint32]:
        """Return which tokens may come next: bit ``i % 32`` of word ``i // 32`` is token i's.

        The end of the text is allowed only where the grammar is satisfied.

        Raises:
            ServeError: the grammar is too costly to follow from here.
        """

    @abstractmethod
    def accept(self, token_id: int) -> bool:
        """Take the token that came; return whether the grammar allows it.

        Raises:
            ServeError: the grammar is too costly to follow from here.
        """

    @abstractmethod
    def rollback(self, count: int) -> None:
        """Take back the last ``count`` tokens."""

    @property
    @abstractmethod
    def complete(self) -> bool:
        """Whether nothing but the end of the text may come."""


class Grammar(ABC):
    """A compiled grammar; any number of sequences and threads may share it."""

    @abstractmethod
    def start(self) -> GrammarState:
        """Return a state at the grammar's beginning."""
