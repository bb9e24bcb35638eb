"""What may not touch the weights: updates that are no number, and losses that jump."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, NoReturn

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from ingot.errors import TrainingError
from ingot.files import full_disk_named

_LEAST_SPREAD = 1e-3  # of losses, as a share of their mean: below it every wobble would be a spike


class GuardConfig(BaseModel):
    """Which updates are left out, and when a run gives up."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    max_skipped: int = Field(5, ge=1)
    """Updates with a loss or gradient that is not finite are left out; so many in a row end
    the run."""
    spike_score: float | None = Field(8.0, gt=0)
    """A loss so many standard deviations above the mean of those before it is a spike; none
    looks for no spikes."""
    spike_window: int = Field(64, ge=8, le=4096)
    """Losses that a new one is compared with; until there are so many nothing is a spike."""
    on_spike: Literal["skip", "roll_back"] = "skip"
    """skip: leave the update out. roll_back: also go back to the weights of the last checkpoint,
    and on with the text that follows."""

    def is_spike(self, loss: float, before: Sequence[float]) -> bool:
        """Tell whether a loss is far above those before it, the latest last."""
        if self.spike_score is None or len(before) < self.spike_window:
            return False
        mean = statistics.fmean(before)
        spread = max(statistics.pstdev(before, mean), _LEAST_SPREAD * abs(mean))
        return loss > mean + self.spike_score * spread

    def remember(self, loss: float, before: Sequence[float]) -> list[float]:
        """Return the losses that the next one is compared with."""
        return [*before, loss][-self.spike_window :]


def is_sound(loss: float, gradient_norm: float) -> bool:
    """Tell whether an update may be made: its loss and its gradient's norm are finite."""
    return math.isfinite(loss) and math.isfinite(gradient_norm)


def is_finite(tensors: Iterable[Tensor]) -> bool:
    """Tell whether every value of every tensor is a finite number."""
    return all(bool(tensor.isfinite().all()) for tensor in tensors)


def give_up(run: Path, problem: str, step: int, windows: NDArray[np.int64] | None) -> NoReturn:
    """Save the batch of a run's last update and end the run.

    Args:
        run: The run's folder; the batch goes into ``unsound-batch.npy`` there.
        problem: What was no number.
        step: Number of the update.
        windows: Token ids of the update, (B, T+1); None where this process saves nothing.

    Raises:
        TrainingError: always; it names the file and what to do.
        ResourceError: the disk is full.
    """
    path = run / "unsound-batch.npy"
    if windows is not None:
        with full_disk_named(path):
            np.save(path, windows, allow_pickle=False)
    raise TrainingError(
        f"{problem}, the last at step {step}; its batch is in {path.name}",
        where=run,
        fix="the last checkpoint is intact; lower the learning rates and start a new run",
    )
