"""Errors for memory that does not suffice, each with the setting to lower and its value."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path

import torch

from ingot.errors import ResourceError
from ingot.training.config.recipe import BatchRecipe
from ingot.training.run_folder.run import Run


def require_memory(run: Run, available: int, processes: int = 1) -> None:
    """Refuse a run that cannot fit, before the system kills it later.

    The estimate is a lower bound: weights, gradients and moments in float32, and what each block
    keeps of each token for the backward pass in half precision.

    Args:
        run: The run.
        available: Free memory, in bytes.
        processes: Processes that share its batches.

    Raises:
        ResourceError: it does not fit; it says what to lower, and to what.
    """
    config, batch = run.model_config, run.recipe.batch
    kinds = 1 if run.recipe.lora else (3 if run.recipe.optimizer.method == "muon" else 4)
    fixed = config.parameters * 4 * kinds
    if fixed > available:
        raise ResourceError(
            f"weights, gradients and moments of {config.parameters / 1e6:.1f}M parameters take "
            f"{fixed / 1e9:.1f} GB, and {available / 1e9:.1f} GB are free",
            where=run.path,
            fix=f"use a model of at most {available / 4 / kinds / 1e6:.1f}M parameters",
        )
    kept = 4 * config.hidden_size
    if not batch.recompute:
        kept = 12 * config.hidden_size + 6 * config.intermediate_size
    sequence_bytes = batch.context * config.num_hidden_layers * kept
    fitting = (available - fixed) // sequence_bytes * processes
    if batch.sequences <= fitting:
        return
    too_much = sequence_bytes / (available - fixed)
    fix = f"lower batch.context or the model, by at least {too_much:.1f} times"
    if fitting:
        passes = math.ceil(batch.sequences_per_update / fitting)
        fix = f"--set batch.sequences={fitting} --set batch.accumulation={passes}"
    raise ResourceError(
        f"{batch.sequences} sequences of {batch.context} tokens at once take at least "
        f"{batch.sequences // processes * sequence_bytes / 1e9:.1f} GB beside the model, and "
        f"{max(available - fixed, 0) / 1e9:.1f} GB are free",
        where=run.path,
        fix=fix,
    )


def is_lack_of_memory(error: BaseException) -> bool:
    """Return whether an error of Python or PyTorch means that memory does not suffice."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


@contextlib.contextmanager
def lack_of_memory_named(run: Run) -> Iterator[None]:
    """Turn a lack of memory met inside into the error that says what to lower."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if is_lack_of_memory(error):
            raise too_large(run.path, run.recipe.batch, run.model_config.parameters) from error
        raise


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
        f"memory does not hold {batch.sequences} sequences of {batch.context} tokens of a model "
        f"of {parameters / 1e6:.1f}M parameters",
        where=run,
        fix=fix,
    )
