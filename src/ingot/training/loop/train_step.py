"""One update: forward, backward, judged, then made or left out, without waiting for the device.

On a GPU an update is only given to the device; what became of it is read once the next has been
given too, so the device never stands idle for want of work. A CPU is done when it returns.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ingot.model.transformer import Transformer
from ingot.training.compute.precision import Precision
from ingot.training.data.batch import Batch
from ingot.training.distributed.data_parallel import Workers
from ingot.training.distributed.fsdp import is_sharded, send_gradients
from ingot.training.loop.guard import Guard, Verdict
from ingot.training.objectives.objective import Objective
from ingot.training.optim.optimizer import Optimizer
from ingot.training.run_folder.run_state import RunState


@dataclass(frozen=True)
class Outcome:
    """What became of an update."""

    loss: float
    """Mean over the predictions that count, in nats; may be NaN or infinite."""
    gradient_norm: float
    sound: bool
    """Whether both are finite."""
    spike: bool
    """Whether it was left out for its loss."""


class PendingOutcome:
    """An outcome on its way from the device."""

    def __init__(self, loss: Tensor, gradient_norm: Tensor, verdict: Verdict) -> None:
        values = [loss, gradient_norm, verdict.sound, verdict.spike]
        figures = torch.stack([value.double() for value in values])
        self._figures = figures.to("cpu", non_blocking=True)
        self._sent = torch.cuda.current_stream().record_event() if figures.is_cuda else None

    def read(self) -> Outcome:
        """Wait for it."""
        if self._sent is not None:
            self._sent.synchronize()
        loss, norm, sound, spike = self._figures.tolist()
        return Outcome(loss, norm, bool(sound), bool(spike))


@dataclass(frozen=True)
class GivenUpdate:
    """An update that was given to the device."""

    state: RunState
    """Of the run, just after it."""
    rate: float
    batch: Batch
    outcome: PendingOutcome


class Updater:
    """Makes updates, each in as many passes as it is accumulated over.

    Args:
        model: The model; its parameters are updated.
        learner: The same model as it is run in training.
        objective: What is minimised.
        optimizer: Of the model's parameters.
        guard: Says what is left out.
        workers: The processes that share an update.
        precision: Where and in what is computed.
        passes: Forward and backward passes of one process in one update.
    """

    def __init__(
        self,
        model: Transformer,
        learner: Transformer,
        objective: Objective,
        optimizer: Optimizer,
        guard: Guard,
        workers: Workers,
        precision: Precision,
        passes: int,
    ) -> None:
        self._model, self._learner, self._objective = model, learner, objective
        self._optimizer, self._guard = optimizer, guard
        self._workers, self._precision, self._passes = workers, precision, passes

    @property
    def behind(self) -> int:
        """Updates that are given to the device before the outcome of an earlier one is read."""
        return 1 if self._precision.device.type == "cuda" else 0

    def make(self, batch: Batch, rate: float) -> PendingOutcome:
        """Make an update at ``rate`` times the full learning rates, if the guard lets it.

        Args:
            batch: Of all processes.
            rate: Multiplies every learning rate.

        Raises:
            RecipeError: the batch has too few sequences for processes times passes.
        """
        loss = self._accumulate(batch)
        norm = self._optimizer.clip()
        verdict = self._guard.judge(loss, norm)
        self._optimizer.step(rate, verdict.accepted)
        self._optimizer.zero_grad()
        return PendingOutcome(loss, norm, verdict)

    def _accumulate(self, batch: Batch) -> Tensor:
        """Add up gradients over passes and processes; return the mean loss."""
        total = torch.zeros((), device=self._precision.device)
        parts = self._workers.own(batch, self._passes)
        for index, some in enumerate(parts):
            send_gradients(self._model, now=index == len(parts) - 1)
            with self._precision.autocast():
                loss = self._objective.loss(self._learner, some, self._precision.device)
            loss = loss / batch.weight
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
        self._workers.add(total)
        if not is_sharded(self._model):
            self._workers.add_gradients(self._model.parameters())
        return total
