"""Checkpoints written beside the training: the run waits for a copy in memory, not for the disk."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from ingot.training.run_folder import checkpoint, checkpoint_tensors
from ingot.training.run_folder.run_state import RunState

_SPREAD_S = 10.0  # over which the writing is spread, so that no update is slowed by much
_LEAST_PRIORITY = 19  # the thread takes processor time that training leaves


class Saver:
    """Writes one checkpoint at a time in a separate thread.

    A checkpoint asked for while another is being written waits for that one, so there
    is never more than one copy of the model in memory.

    Args:
        run: The run's folder.
        keep: Latest checkpoints to keep, beside the best.
        every_s: Seconds between checkpoints. Writing one is spread over a quarter of that, 10 s
            at most, unless a caller waits for it.
    """

    def __init__(self, run: Path, *, keep: int, every_s: float = math.inf) -> None:
        self._run, self._keep, self._spread_s = run, keep, min(_SPREAD_S, every_s / 4)
        self._hurried = threading.Event()
        self._thread: threading.Thread | None = None
        self._written: Path | None = None
        self._failed: BaseException | None = None

    def save(
        self, state: RunState, weights: Mapping[str, Tensor], optimizer: Mapping[str, Tensor]
    ) -> Path | None:
        """Copy a checkpoint and begin to write it; return the one that was written before.

        Raises:
            ResourceError: the one before could not be written; earlier ones are untouched.
        """
        before = self.wait()
        copies = [
            {name: tensor.detach().to("cpu", copy=True) for name, tensor in tensors.items()}
            for tensors in (weights, optimizer)
        ]
        self._hurried.clear()
        self._thread = threading.Thread(
            target=self._write, args=(state, *copies), name="ingot-saver", daemon=True
        )
        self._thread.start()
        return before

    def written(self) -> Path | None:
        """Return the checkpoint that has been written since this was asked last, if one was.

        Raises:
            ResourceError: it could not be written.
        """
        return self.wait() if self._thread and not self._thread.is_alive() else None

    def hurry(self) -> None:
        """Have what is being written finished without pauses; return at once."""
        self._hurried.set()

    def wait(self) -> Path | None:
        """Return as ``written``, once nothing is being written any more."""
        if self._thread:
            self.hurry()
            self._thread.join()
            self._thread = None
        if self._failed:
            failed, self._failed = self._failed, None
            raise failed
        written, self._written = self._written, None
        return written

    def _write(
        self, state: RunState, weights: Mapping[str, Tensor], optimizer: Mapping[str, Tensor]
    ) -> None:
        tensors = (*weights.values(), *optimizer.values())
        seconds_a_byte = self._spread_s / max(1, sum(tensor.nbytes for tensor in tensors))

        def pause(written: int) -> None:
            self._hurried.wait(written * seconds_a_byte)

        try:
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _LEAST_PRIORITY)
            self._written = checkpoint_tensors.save(
                self._run, state, weights, optimizer, pause=pause
            )
            checkpoint.prune(self._run, keep=self._keep, best_step=state.best_step)
        except BaseException as error:
            self._failed = error
