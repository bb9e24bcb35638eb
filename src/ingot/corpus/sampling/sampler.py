"""Random-order sampling of training sequences, with a state of a few integers."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np

from ingot.corpus.config import LEAST_CONTEXT
from ingot.corpus.sampling.permutation import ROUNDS, Permutation
from ingot.corpus.store.shards import Part, TokenIds, TokenStore
from ingot.errors import CorpusError

_BLOCK = 1024


class Sampler:
    """Draws windows of ``context + 1`` tokens; every window once an epoch.

    In each epoch the windows start at a random offset and tile the stream with
    stride ``context``, so that every token is predicted at most once and windows
    differ between epochs. Their order is a pseudo-random permutation that is
    computed, not stored: memory and state do not grow with the corpus.

    If the store has parts to mix, each part is such a stream with epochs of its
    own, and each window comes from the part that is furthest behind its share.
    After any number of windows every part is within fewer windows of its share than
    there are parts. Small parts are repeated; large ones may not be exhausted.

    Args:
        store: The tokens.
        context: Tokens that each window predicts.
        batch: Windows in one batch.
        seed: Chooses offsets and orders.

    Raises:
        CorpusError: the store, or one of its parts, is shorter than one window.
    """

    def __init__(self, store: TokenStore, *, context: int, batch: int, seed: int) -> None:
        self._store = store
        self._context = context
        self._batch = batch
        self._seed = seed
        parts = store.parts or (Part("", 1.0, 0, len(store)),)
        self._streams = [_WindowStream(part, context, seed) for part in parts]
        self._mixture = _Mixture([part.weight for part in parts])

    def next_batch(self) -> TokenIds:
        """Return the next windows, int64, shape (batch, context + 1)."""
        windows = np.empty((self._batch, self._context + 1), np.int64)
        for row in range(self._batch):
            start = self._streams[self._mixture.draw()].next_start()
            windows[row] = self._store.read(start, self._context + 1)
        return windows

    @property
    def epoch(self) -> float:
        """Passes over the corpus so far, the current fraction included.

        Over a mix: passes over each part, weighted by its number of tokens.
        """
        tokens = sum(stream.part.tokens for stream in self._streams)
        return sum(stream.passes * (stream.part.tokens / tokens) for stream in self._streams)

    def state(self) -> dict[str, int]:
        """Return the state to resume with the next window."""
        state = self._identity()
        for number, stream in enumerate(self._streams):
            prefix = _prefix(number)
            state[f"{prefix}epoch"] = stream.epoch
            state[f"{prefix}position"] = stream.position
            if len(self._streams) > 1:
                state[f"{prefix}drawn"] = self._mixture.drawn[number]
        return state

    def restore(self, state: Mapping[str, int]) -> None:
        """Resume from ``state``; the batch size may differ.

        Raises:
            CorpusError: the state is malformed, or belongs to another corpus, context, seed or mix.
        """
        identity = self._identity()
        if any(type(value) is not int or value < 0 for value in state.values()):
            raise _malformed()
        for name, value in identity.items():
            if state.get(name, value) != value:
                raise CorpusError(
                    f"the run was started with {name} {state[name]}, now it is {value}",
                    where="sampler",
                    fix="resume with the corpus and settings of the run",
                )
        if state.keys() != self.state().keys():
            raise _malformed()
        for number, stream in enumerate(self._streams):
            prefix = _prefix(number)
            stream.go_to(state[f"{prefix}epoch"], state[f"{prefix}position"])
            if len(self._streams) > 1:
                self._mixture.drawn[number] = state[f"{prefix}drawn"]

    def _identity(self) -> dict[str, int]:
        identity = {"tokens": len(self._store), "context": self._context, "seed": self._seed}
        if len(self._streams) > 1:
            identity["parts"] = len(self._streams)
            for number, weight in enumerate(self._mixture.weights):
                identity[f"{_prefix(number)}weight"] = weight
        return identity


def _shorter(tokens: int) -> str:
    """Return what to do with a text that is shorter than a window."""
    if tokens <= LEAST_CONTEXT:
        return f"add text: the shortest window, of context {LEAST_CONTEXT}, is longer"
    return f"add text, or shorten the window: --set batch.context={tokens - 1}"


class _WindowStream:
    """One stream's windows, epoch after epoch."""

    def __init__(self, part: Part, context: int, seed: int) -> None:
        if part.tokens < context + 1:
            name = f"the training text of {part.name}" if part.name else "the training text"
            raise CorpusError(
                f"{name} has {part.tokens} tokens, one window of context {context} "
                f"needs {context + 1}",
                where="corpus",
                fix=_shorter(part.tokens),
            )
        self.part = part
        self._context = context
        self._seed = seed
        self.go_to(0, 0)

    @property
    def passes(self) -> float:
        """Epochs so far, with the fraction of the current one."""
        return self.epoch + self.position / self._windows

    def go_to(self, epoch: int, position: int) -> None:
        """Make window ``position`` of an epoch the next one."""
        text = f"ingot sampler {self._seed} {epoch}"
        if self.part.start:  # each part of a corpus needs its own order
            text += f" {self.part.start}"
        key = hashlib.sha512(text.encode()).digest()
        slack = min(self._context, self.part.tokens - self._context)
        self.epoch = epoch
        self._offset = int.from_bytes(key[56:], "little") % slack
        self._windows = (self.part.tokens - 1 - self._offset) // self._context
        if position > self._windows:
            raise _malformed()
        self.position = position
        self._permutation = Permutation(self._windows, key[: 8 * ROUNDS])
        self._load_block(0)

    def next_start(self) -> int:
        """Return the offset of the next window in the store."""
        if self.position == self._windows:
            self.go_to(self.epoch + 1, 0)
        block, index = divmod(self.position, _BLOCK)
        if block != self._block:
            self._load_block(block)
        self.position += 1
        return self._block_starts[index]

    def _load_block(self, block: int) -> None:
        """Compute the offsets of the next windows; one vectorized call is far cheaper than many."""
        end = min((block + 1) * _BLOCK, self._windows)
        order = self._permutation(np.arange(block * _BLOCK, end, dtype=np.uint64))
        first = self.part.start + self._offset
        self._block = block
        self._block_starts: list[int] = (first + order.astype(np.int64) * self._context).tolist()


class _Mixture:
    """Choice of the part of each window by weight, deterministic and exact."""

    def __init__(self, weights: list[float]) -> None:
        total = sum(weights)
        # Integers, so that the choice stays exact however long a run is.
        self.weights = [max(1, round(weight / total * (1 << 32))) for weight in weights]
        self._total = sum(self.weights)
        self.drawn = [0] * len(weights)

    def draw(self) -> int:
        """Return the part that is furthest behind its share, the first of them if tied."""
        if len(self.weights) == 1:
            return 0
        count = sum(self.drawn) + 1
        behind = [
            weight * count - self._total * drawn
            for weight, drawn in zip(self.weights, self.drawn, strict=True)
        ]
        chosen = behind.index(max(behind))
        self.drawn[chosen] += 1
        return chosen


def _prefix(number: int) -> str:
    return f"part{number}." if number else ""


def _malformed() -> CorpusError:
    return CorpusError("is not a sampler's state", where="sampler")
