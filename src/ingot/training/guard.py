"""What may not touch the weights: an update whose loss or gradient is no number."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ingot.errors import TrainingError
from ingot.files import full_disk_named


def is_sound(loss: float, gradient_norm: float) -> bool:
    """Tell whether an update may be made: its loss and its gradient's norm are finite."""
    return math.isfinite(loss) and math.isfinite(gradient_norm)


def is_finite(tensors: Iterable[Tensor]) -> bool:
    """Tell whether every value of every tensor is a finite number."""
    return all(bool(tensor.isfinite().all()) for tensor in tensors)


def give_up(run: Path, problem: str, step: int, windows: Sequence[NDArray[np.int64]]) -> NoReturn:
    """Save the batch of a run's last update and end the run.

    Args:
        run: The run's folder; the batch goes into ``unsound-batch.npy`` there.
        problem: What was no number.
        step: Number of the update.
        windows: Token ids of the update, (B, T+1) for each pass.

    Raises:
        TrainingError: always; it names the file and what to do.
        ResourceError: the disk is full.
    """
    path = run / "unsound-batch.npy"
    with full_disk_named(path):
        np.save(path, np.concatenate(windows), allow_pickle=False)
    raise TrainingError(
        f"{problem}, the last at step {step}; its batch is in {path.name}",
        where=run,
        fix="the last checkpoint is intact; lower the learning rates and start a new run",
    )
