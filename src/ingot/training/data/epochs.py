"""The order of examples over epochs, with a state of a few integers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from ingot.corpus.sampling.permutation import ROUNDS, Permutation
from ingot.errors import CorpusError

Item = TypeVar("Item")


def shuffled(count: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """Return the numbers below ``count`` in an order that seed and epoch decide."""
    key = hashlib.sha512(f"ingot examples {seed} {epoch}".encode()).digest()
    indices = np.arange(count, dtype=np.uint64)
    return Permutation(count, key[: 8 * ROUNDS])(indices).astype(np.int64)


def fingerprint(*arrays: NDArray[np.generic]) -> int:
    """Return a number that identifies data."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).view(np.uint8).data)
    return int.from_bytes(digest.digest()[:6], "little")


class Epochs(Generic[Item]):
    """Items of one epoch after another.

    Args:
        plan: Makes the items of an epoch, at least one; the same whenever it is asked.
        identity: Values that a state must agree with to be restored.
    """

    def __init__(self, plan: Callable[[int], Sequence[Item]], identity: Mapping[str, int]) -> None:
        self._plan, self._identity = plan, dict(identity)
        self._start(0)

    def take(self, count: int) -> list[Item]:
        """Return the next items, continuing into further epochs where one ends."""
        taken: list[Item] = []
        while len(taken) < count:
            if self._position == len(self._items):
                self._start(self._epoch + 1)
            some = self._items[self._position : self._position + count - len(taken)]
            self._position += len(some)
            taken += some
        return taken

    @property
    def epoch(self) -> float:
        """Epochs so far, with the fraction of the current one."""
        return self._epoch + self._position / len(self._items)

    def state(self) -> dict[str, int]:
        """Return what ``restore`` needs to continue with the next item."""
        return {"epoch": self._epoch, "position": self._position, **self._identity}

    def restore(self, state: Mapping[str, int]) -> None:
        """Restore a state.

        Raises:
            CorpusError: the state is malformed, or belongs to other data or settings.
        """
        if state.keys() != {"epoch", "position", *self._identity} or any(
            type(value) is not int or value < 0 for value in state.values()
        ):
            raise CorpusError("is not a state of this task", where="examples")
        for name, value in self._identity.items():
            if state[name] != value:
                raise CorpusError(
                    f"the run was started with {name} {state[name]}, now it is {value}",
                    where="examples",
                    fix="resume with the files and settings of the run",
                )
        self._start(state["epoch"])
        if state["position"] > len(self._items):
            raise CorpusError("is not a state of this task", where="examples")
        self._position = state["position"]

    def _start(self, epoch: int) -> None:
        self._items: Sequence[Item] = self._plan(epoch)
        self._epoch, self._position = epoch, 0
