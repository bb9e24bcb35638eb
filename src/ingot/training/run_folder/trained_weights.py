"""A run's weights as a plain model's, whatever they were trained with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ingot.errors import RecipeError, TrainingError
from ingot.model.transformer import Transformer
from ingot.training.lora.adapter import attach, merge
from ingot.training.lora.files import save_adapter
from ingot.training.run_folder import checkpoint_tensors
from ingot.training.run_folder.run import Run


def trained_weights(run: Run, folder: Path) -> dict[str, Tensor]:
    """Return the weights of a checkpoint, float32 on the CPU, an adapter merged into them.

    Raises:
        TrainingError: the checkpoint is missing, damaged or of another model.
    """
    if run.recipe.lora is None:
        return checkpoint_tensors.read_weights(folder)
    model = _adapted(run, folder)
    merge(model)
    return {name: tensor.detach() for name, tensor in model.state_dict().items()}


def trained_arrays(run: Run, folder: Path) -> dict[str, NDArray[np.float32]]:
    """Return what ``trained_weights`` does as arrays that may be read-only, without a copy."""
    if run.recipe.lora is None:
        return checkpoint_tensors.read_arrays(folder)
    return {name: tensor.numpy() for name, tensor in trained_weights(run, folder).items()}


def write_adapter(run: Run, folder: Path, out: Path) -> None:
    """Write a checkpoint's adapter, without the model it is for, as PEFT lays it out.

    Raises:
        RecipeError: the run trains a whole model.
        TrainingError: the checkpoint is missing, damaged or of another model.
        ResourceError: the disk is full.
    """
    if run.recipe.lora is None:
        raise RecipeError(
            "trains the whole model, not an adapter", where=run.path, fix="seal it: ingot freeze"
        )
    model = _adapted(run, folder)
    save_adapter(model, run.recipe.lora, out, base=str(run.recipe.task.start))


def _adapted(run: Run, folder: Path) -> Transformer:
    assert run.recipe.lora is not None  # noqa: S101 (both callers have looked)
    model = Transformer(run.model_config)
    attach(model, run.recipe.lora, torch.Generator())
    try:
        model.load_state_dict(checkpoint_tensors.read_weights(folder))
    except RuntimeError as error:
        raise TrainingError(
            "does not fit the recipe's model", where=folder, fix="start a new run"
        ) from error
    return model
