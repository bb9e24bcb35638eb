"""Positions of answers in their grammars, which a separate process computes."""

from __future__ import annotations

import itertools
import struct
import threading
from collections import deque

import numpy as np
from numpy.typing import NDArray

from ingot.errors import ServeError
from ingot.inference.request import grammar_worker as worker
from ingot.inference.request.grammar import Grammar, GrammarState
from ingot.inference.request.grammar_process import Child, ChildDied, GrammarProcess

_MEMORY = 1 << 30
_SECONDS = 1.0  # of processor time for a step, which takes less than 1 ms


class GrammarFollower:
    """The one child that follows every answer of a model. Thread-safe.

    Only grammars that another child has compiled and followed come here. If the child dies
    all the same, the answer that it died of fails. The others are begun again in a new child,
    from their tokens.

    Args:
        process: Forks the child.
    """

    def __init__(self, process: GrammarProcess) -> None:
        self._process = process
        self._lock = threading.Lock()
        self._child: Child | None = None
        self._numbers = itertools.count()
        self._left: deque[int] = deque()
        """Answers that are over and that the child still holds."""
        self.generation = 0
        """Number of children that have died."""

    def start(self, source: bytes, tokens: list[int]) -> tuple[int, int, int, bytes]:
        """Begin an answer; return its generation, its number, its flags and its mask.

        Raises:
            ServeError: the grammar cannot be followed.
        """
        number = next(self._numbers) % 2**32
        known = struct.pack(f"<{len(tokens)}I", *tokens)
        with self._lock:
            flags, mask = self._ask(worker.START, number, len(source), source + known)
            return self.generation, number, flags, mask

    def ask(
        self, generation: int, operation: int, number: int, value: int
    ) -> tuple[int, bytes] | None:
        """Carry out an operation on an answer; None if its child is gone.

        Raises:
            ServeError: the grammar cannot be followed.
        """
        with self._lock:
            if generation != self.generation:
                return None
            return self._ask(operation, number, value, b"")

    def leave(self, generation: int, number: int) -> None:
        """Release an answer with the next operation. Takes no lock: finalizers call it."""
        if generation == self.generation:
            self._left.append(number)

    def close(self) -> None:
        """End the child."""
        with self._lock:
            self._end()

    def _ask(self, operation: int, number: int, value: int, data: bytes) -> tuple[int, bytes]:
        try:
            if self._child is None:
                self._child = self._process.child(memory=_MEMORY, seconds=_SECONDS)
            if self._left:
                left = [self._left.popleft() for _ in range(len(self._left))]
                self._child.ask(worker.FORGET, data=struct.pack(f"<{len(left)}I", *left))
            flags, data = self._child.ask(operation, number, value, data)
        except ChildDied as error:
            self._end()
            raise ServeError("takes too much time or memory to follow", where="grammar") from error
        if flags == worker.REFUSED:
            raise ServeError(data.decode(errors="replace"), where="grammar")
        return flags, data

    def _end(self) -> None:
        if self._child is not None:
            self._child.close()
            self._child = None
        self._left.clear()
        self.generation += 1


class FollowedGrammar(Grammar):
    """A grammar that compiles within its limits.

    Args:
        follower: Follows its answers.
        source: The grammar in the library's form.
        size: Bytes that it takes, measured.
        cost_s: Seconds of processor time that it took, and will take to be compiled again.
    """

    def __init__(
        self, follower: GrammarFollower, source: bytes, *, size: int, cost_s: float
    ) -> None:
        self._follower = follower
        self.source = source
        """The grammar in the library's form."""
        self.size = size
        self.cost_s = cost_s

    def start(self) -> GrammarState:
        """Return a state at the beginning; the child learns of it when it is first asked."""
        return _Position(self._follower, self.source)


class _Position(GrammarState):
    """Position of one answer."""

    def __init__(self, follower: GrammarFollower, source: bytes) -> None:
        self._follower = follower
        self._source = source
        self._tokens: list[int] = []
        self._generation = -1
        self._number = self._flags = 0
        self._mask = b""

    def __del__(self) -> None:
        self._follower.leave(self._generation, self._number)

    def mask(self) -> NDArray[np.uint32]:
        self._begin()
        mask = np.frombuffer(self._mask, dtype=np.uint32)
        if not mask.any():
            raise ServeError("allows no token here", where="grammar")
        return mask

    def accept(self, token_id: int) -> bool:
        if not self._ask(worker.ACCEPT, token_id) & worker.ACCEPTED:
            return False
        self._tokens.append(token_id)
        return True

    def rollback(self, count: int) -> None:
        if count:
            self._ask(worker.ROLLBACK, count)
            del self._tokens[-count:]

    @property
    def complete(self) -> bool:
        self._begin()
        return bool(self._flags & worker.STOPPED)

    def _begin(self) -> None:
        """Begin the answer in the child, or again in the next one from its tokens."""
        if self._generation != self._follower.generation:
            begun = self._follower.start(self._source, self._tokens)
            self._generation, self._number, self._flags, self._mask = begun

    def _ask(self, operation: int, value: int) -> int:
        """Carry out an operation; return its flags."""
        reply = None
        while reply is None:
            self._begin()
            reply = self._follower.ask(self._generation, operation, self._number, value)
        self._flags, self._mask = reply
        return self._flags
