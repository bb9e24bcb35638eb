"""A training step whose outcome is still on its way from the device."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ingot.training.data.batch import Batch
from ingot.training.loop.guard import Verdict
from ingot.training.run_folder.run_state import RunState


@dataclass(frozen=True)
class Outcome:
    """The outcome of a training step."""

    loss: float
    """Mean over the predictions that count, in nats; may be NaN or infinite."""
    gradient_norm: float
    finite: bool
    """Whether both are finite."""
    spike: bool
    """Whether the update was skipped as a loss spike."""


class PendingStep:
    """A training step that was queued on the device.

    Args:
        state: Counters of the run just after the step.
        lr_scale: Factor of the learning rates that it used.
        batch: Its batch, of all processes.
        loss: Mean loss, a scalar on the device.
        gradient_norm: A scalar on the device.
        verdict: The guard's.
    """

    def __init__(
        self,
        state: RunState,
        lr_scale: float,
        batch: Batch,
        loss: Tensor,
        gradient_norm: Tensor,
        verdict: Verdict,
    ) -> None:
        self.state, self.lr_scale, self.batch = state, lr_scale, batch
        # One copy of four values, in float64, which holds each of them exactly.
        values = [loss, gradient_norm, verdict.finite, verdict.spike]
        values_on_device = torch.stack([value.double() for value in values])
        self._values = values_on_device.to("cpu", non_blocking=True)
        self._sent = (
            torch.cuda.current_stream().record_event() if values_on_device.is_cuda else None
        )

    def wait(self) -> Outcome:
        """Wait for the device and return the outcome."""
        if self._sent is not None:
            self._sent.synchronize()
        loss, norm, finite, spike = self._values.tolist()
        return Outcome(loss, norm, bool(finite), bool(spike))
