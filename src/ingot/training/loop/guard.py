"""The guard: skip non-finite updates and loss spikes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ingot.errors import TrainingError
from ingot.files import full_disk_named
from ingot.training.config.guard import GuardConfig

_LEAST_SPREAD = 1e-3  # of losses, as a share of their mean: below it every wobble would be a spike


@dataclass(frozen=True)
class Verdict:
    """Whether an update may be applied; scalars on the device that computed it."""

    finite: Tensor
    """Loss and gradient norm are finite, bool."""
    spike: Tensor
    """The loss is finite and far above those before it, bool."""

    @property
    def accepted(self) -> Tensor:
        """Whether the update is to be applied, bool."""
        return self.finite & ~self.spike


class Guard:
    """Judges updates where they are computed, so that nothing waits for the device.

    Args:
        config: Limits of what is accepted.
        before: Losses of earlier updates, the latest last.
        device: Where the updates are computed.
    """

    def __init__(
        self, config: GuardConfig, before: Sequence[float], device: torch.device | str
    ) -> None:
        self._score = config.spike_score
        before = before[-config.spike_window :]
        missing = [math.nan] * (config.spike_window - len(before))  # nothing is above a NaN
        self._losses = torch.tensor([*missing, *before], dtype=torch.float64, device=device)

    def judge(self, loss: Tensor, gradient_norm: Tensor) -> Verdict:
        """Judge an update by its loss and its gradient's norm, scalars; remember a finite loss."""
        finite = loss.isfinite() & gradient_norm.isfinite()
        spike = finite & self._is_spike(loss)
        with_it = torch.cat((self._losses[1:], loss.double().view(1)))
        self._losses = torch.where(finite, with_it, self._losses)
        return Verdict(finite, spike)

    def losses(self) -> list[float]:
        """Return what the next loss is compared with, the latest last; waits for the device."""
        return [loss for loss in self._losses.tolist() if not math.isnan(loss)]

    def _is_spike(self, loss: Tensor) -> Tensor:
        if self._score is None:
            return torch.zeros_like(loss, dtype=torch.bool)
        mean = self._losses.mean()
        spread = self._losses.std(correction=0).maximum(_LEAST_SPREAD * mean.abs())
        return loss > mean + self._score * spread


def is_finite(tensors: Iterable[Tensor]) -> bool:
    """Tell whether every value of every tensor is a finite number."""
    return all(bool(tensor.isfinite().all()) for tensor in tensors)


def give_up(run: Path, problem: str, step: int, ids: NDArray[np.int64] | None) -> NoReturn:
    """Save the batch of an update and end the run.

    Args:
        run: The run's folder; the batch goes into ``nonfinite-batch.npy`` there.
        problem: What was not finite.
        step: Number of the update.
        ids: Token ids of the update, (B, T+1); None where this process saves nothing.

    Raises:
        TrainingError: always; it names the file and what to do.
        ResourceError: the disk is full.
    """
    path = run / "nonfinite-batch.npy"
    if ids is not None:
        with full_disk_named(path):
            np.save(path, ids, allow_pickle=False)
    raise TrainingError(
        f"{problem}, the last at step {step}; its batch is in {path.name}",
        where=run,
        fix="the last checkpoint is intact; lower the learning rates and start a new run",
    )
