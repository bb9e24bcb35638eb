"""Checkpoints with their tensors: complete, atomic, digested."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from ingot.artifact import DTYPES, LoadedTensors, read_tensors, write_tensors
from ingot.errors import ArtifactError, TrainingError
from ingot.files import full_disk_named, sync_folder, write_atomic
from ingot.training.run_folder.checkpoint import (
    MODEL,
    OPTIMIZER,
    STATE,
    draft_of,
    folder_of,
    publish,
    read_state,
    use_earlier,
)
from ingot.training.run_folder.run_state import RunState


def save(
    run: Path,
    state: RunState,
    weights: Mapping[str, Tensor],
    optimizer: Mapping[str, Tensor],
    *,
    pause: Callable[[int], object] | None = None,
) -> Path:
    """Write one checkpoint and return its folder.

    Args:
        run: The run's folder.
        state: The run's counters.
        weights: Tensors of the model.
        optimizer: Tensors of the optimizer.
        pause: Called after each tensor with its bytes, to spread the writing over time.

    Raises:
        ResourceError: the disk is full; earlier checkpoints are untouched.
    """
    final, draft = folder_of(run, state.step), draft_of(run, state.step)
    parent = final.parent
    with full_disk_named(parent):
        parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir()
        try:
            digests = {
                name: write_tensors(
                    draft / name, _to_numpy(tensors), digest_each=False, pause=pause
                ).file_sha256
                for name, tensors in ((MODEL, weights), (OPTIMIZER, optimizer))
            }
            sealed = state.with_digests(digests)
            write_atomic(draft / STATE, sealed.model_dump_json(indent=1).encode())
            publish(draft, final)
            sync_folder(parent)  # a rename is durable only once its folder is on disk
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise
    return final


def read_weights(folder: Path) -> dict[str, Tensor]:
    """Read a checkpoint's weights, with the digest checked.

    Raises:
        TrainingError: they are missing or damaged.
    """
    return _as_torch(_read(folder, MODEL))


def read_arrays(folder: Path) -> dict[str, NDArray[Any]]:
    """Return a checkpoint's weights as read-only arrays, with the digest checked.

    Raises:
        TrainingError: they are missing or damaged.
    """
    return {name: tensor.array() for name, tensor in _read(folder, MODEL).items()}


def read_optimizer(folder: Path) -> dict[str, Tensor]:
    """Read a checkpoint's optimizer state, with the digest checked.

    Raises:
        TrainingError: it is missing or damaged.
    """
    return _as_torch(_read(folder, OPTIMIZER))


def _read(folder: Path, name: str) -> LoadedTensors:
    """Read a file once: the memory that is hashed is the one that is used."""
    expected = read_state(folder).sha256.get(name, "")
    try:
        return read_tensors(folder / name, sha256=expected)
    except ArtifactError as error:
        raise TrainingError(error.what, where=folder / name, fix=use_earlier(folder)) from error


def _as_torch(tensors: LoadedTensors) -> dict[str, Tensor]:
    return {
        name: torch.from_numpy(tensor.array().astype(DTYPES[tensor.dtype], copy=True))
        for name, tensor in tensors.items()
    }


def _to_numpy(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    return {name: tensor.detach().cpu().numpy() for name, tensor in tensors.items()}
