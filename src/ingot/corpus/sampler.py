"""Training windows in random order, from a state of a few integers."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from ingot.corpus.shards import TokenIds, TokenStore
from ingot.errors import CorpusError

_ROUNDS = 6
_BLOCK = 1024


class Sampler:
    """Draws windows of ``context + 1`` tokens; every window once an epoch.

    In each epoch the windows start at a random offset and tile the stream with
    stride ``context``, so that every token is predicted at most once and windows
    differ between epochs. Their order is a pseudo-random permutation that is
    computed, not stored: memory and state do not grow with the corpus.

    Args:
        store: The tokens.
        context: Tokens that each window predicts.
        batch: Windows in one batch.
        seed: Chooses offsets and orders.

    Raises:
        CorpusError: the store is shorter than one window.
    """

    def __init__(self, store: TokenStore, *, context: int, batch: int, seed: int) -> None:
        if len(store) < context + 1:
            raise CorpusError(
                f"the training text has {len(store)} tokens, one window of context {context} "
                f"needs {context + 1}",
                where="corpus",
                fix=f"lower the context below {len(store)} or add text",
            )
        self._store = store
        self._context = context
        self._batch = batch
        self._seed = seed
        self._start_epoch(0)
        self._position = 0

    def next_batch(self) -> TokenIds:
        """Return the next windows, int64, shape (batch, context + 1)."""
        starts: list[int] = []
        while len(starts) < self._batch:
            if self._position == self._windows:
                self._start_epoch(self._epoch + 1)
                self._position = 0
            block, place = divmod(self._position, _BLOCK)
            if block != self._block:
                self._load_block(block)
            taken = self._block_starts[place : place + self._batch - len(starts)]
            starts += taken
            self._position += len(taken)
        windows = np.empty((self._batch, self._context + 1), np.int64)
        for row, start in enumerate(starts):
            windows[row] = self._store.read(start, self._context + 1)
        return windows

    @property
    def epoch(self) -> float:
        """Passes over the corpus so far, with the fraction of the current one."""
        return self._epoch + self._position / self._windows

    def state(self) -> dict[str, int]:
        """Return what ``restore`` needs to go on with the very next window."""
        return {"epoch": self._epoch, "position": self._position, **self._identity()}

    def restore(self, state: Mapping[str, int]) -> None:
        """Go on where ``state`` was taken; the batch size may differ.

        Raises:
            CorpusError: the state is malformed, or belongs to another corpus, context or seed.
        """
        identity = self._identity()
        if state.keys() != {"epoch", "position", *identity} or any(
            type(value) is not int or value < 0 for value in state.values()
        ):
            raise CorpusError("is not a sampler's state", where="sampler")
        for name, value in identity.items():
            if state[name] != value:
                raise CorpusError(
                    f"the run was started with {name} {state[name]}, now it is {value}",
                    where="sampler",
                    fix="resume with the corpus and settings of the run",
                )
        self._start_epoch(state["epoch"])
        if state["position"] > self._windows:
            raise CorpusError("is not a sampler's state", where="sampler")
        self._position = state["position"]

    def _identity(self) -> dict[str, int]:
        return {"tokens": len(self._store), "context": self._context, "seed": self._seed}

    def _start_epoch(self, epoch: int) -> None:
        key = hashlib.sha512(f"ingot sampler {self._seed} {epoch}".encode()).digest()
        slack = min(self._context, len(self._store) - self._context)
        self._epoch = epoch
        self._offset = int.from_bytes(key[56:], "little") % slack
        self._windows = (len(self._store) - 1 - self._offset) // self._context
        self._permutation = Permutation(self._windows, key[: 8 * _ROUNDS])
        self._load_block(0)

    def _load_block(self, block: int) -> None:
        """Compute where the next windows start, many at once because that is far cheaper."""
        end = min((block + 1) * _BLOCK, self._windows)
        order = self._permutation(np.arange(block * _BLOCK, end, dtype=np.uint64))
        self._block = block
        self._block_starts = (self._offset + order.astype(np.int64) * self._context).tolist()


class Permutation:
    """A pseudo-random permutation of ``range(size)``, computed entry by entry.

    A Feistel network permutes the numbers of an even count of bits; a result
    outside the range is fed in again until it falls inside (cycle walking:
    Black and Rogaway, "Ciphers with Arbitrary Finite Domains", 2002).

    Args:
        size: How many numbers are permuted.
        key: 8 bytes for each of the 6 rounds.
    """

    def __init__(self, size: int, key: bytes) -> None:
        self._size = np.uint64(size)
        self._half = np.uint64(max(1, ((size - 1).bit_length() + 1) // 2))
        self._mask = (np.uint64(1) << self._half) - np.uint64(1)
        self._keys = np.frombuffer(key, "<u8")

    def __call__(self, places: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
        """Return where each place goes; all must be below ``size``."""
        result = self._encrypt(places)
        while (outside := result >= self._size).any():
            result[outside] = self._encrypt(result[outside])
        return result

    def _encrypt(self, values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
        left, right = values >> self._half, values & self._mask
        for key in self._keys:
            left, right = right, left ^ (_mix(right ^ key) & self._mask)
        return (left << self._half) | right


def _mix(x: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Scatter the bits of each number (the finalizer of splitmix64)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
