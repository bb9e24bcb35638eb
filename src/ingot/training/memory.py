"""Memory that does not suffice: how it is told, and what to lower then."""

from __future__ import annotations

from pathlib import Path

import torch

from ingot.errors import ResourceError
from ingot.training.recipe import BatchRecipe


def is_lack_of_memory(error: BaseException) -> bool:
    """Tell whether an error of Python's or PyTorch's says that memory does not suffice."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def too_large(run: Path, batch: BatchRecipe, parameters: int) -> ResourceError:
    """Return the error that says what to lower, and to what.

    Args:
        run: The run's folder.
        batch: What is computed at once.
        parameters: Size of the model.
    """
    fix = "use a smaller model, or --set batch.recompute=true"
    if batch.sequences > 1:
        fix = (
            f"halve what is computed at once: --set batch.sequences={batch.sequences // 2} "
            f"--set batch.accumulation={batch.accumulation * 2}"
        )
    return ResourceError(
        f"memory does not hold {batch.sequences} windows of {batch.context} tokens of a model "
        f"of {parameters / 1e6:.1f}M parameters",
        where=run,
        fix=fix,
    )
