"""Checkpoints: complete, atomic, digested. A folder each, under ``RUN/checkpoints``.

``model.safetensors`` holds the weights, ``optimizer.safetensors`` the optimizer's
state, ``state.json`` the counters and the sampler's state with the digests of
the other two. A folder gets its name only when all of it is on disk.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor

from ingot.artifact import DTYPES, read_tensors, write_tensors
from ingot.errors import ArtifactError, TrainingError, from_validation
from ingot.files import full_disk_named, sha256_file, sync_folder, write_atomic

MODEL, OPTIMIZER, STATE = "model.safetensors", "optimizer.safetensors", "state.json"
_PREFIX = "step-"


class RunState(BaseModel):
    """The counters of a run: with the tensors, all it takes to go on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    step: int = Field(0, ge=0)
    tokens: int = Field(0, ge=0)
    flops: float = Field(0.0, ge=0)
    elapsed: float = Field(0.0, ge=0)
    """Wall seconds trained, over all sittings."""
    sampler: dict[str, int] = {}
    training_loss: float | None = None
    """Smoothed, nats per token."""
    validation_loss: float | None = None
    """At the last evaluation, nats per token."""
    bits_per_byte: float | None = None
    """At the last evaluation."""
    best_loss: float | None = None
    """Lowest validation loss so far."""
    best_step: int | None = None
    skipped: int = Field(0, ge=0)
    """Updates left out."""
    skipped_in_a_row: int = Field(0, ge=0)
    """Those without a finite loss and gradient since the last update that was made."""
    recent_losses: list[float] = []
    """What the next loss is compared with, the latest last."""
    finished: bool = False
    """Whether the run has reached its end."""
    corpus_digest: str = ""
    sha256: dict[str, str] = {}
    """Digest of each file of tensors."""


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
        state: Its counters.
        weights: Tensors of the model.
        optimizer: Tensors of the optimizer.
        pause: Called after each tensor with its bytes, for a writer that is in no hurry.

    Raises:
        ResourceError: the disk is full; earlier checkpoints are untouched.
    """
    parent = run / "checkpoints"
    final = parent / f"{_PREFIX}{state.step:08d}"
    draft = parent / f".draft-{state.step:08d}"
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
            sealed = state.model_copy(update={"sha256": digests})
            write_atomic(draft / STATE, sealed.model_dump_json(indent=1).encode())
            if final.exists():  # the same step again, after a resume: the new one is as good
                _remove(final)
            draft.rename(final)
            sync_folder(parent)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise
    return final


def folders(run: Path) -> list[Path]:
    """Return the run's whole checkpoints, earliest first."""
    return sorted((run / "checkpoints").glob(f"{_PREFIX}*"))


def step_of(folder: Path) -> int:
    """Return the number of updates before a checkpoint."""
    return int(folder.name.removeprefix(_PREFIX))


def prune(run: Path, *, keep: int, best_step: int | None) -> None:
    """Delete all but the latest ``keep`` checkpoints and the best one."""
    for folder in folders(run)[:-keep]:
        if folder.name != f"{_PREFIX}{best_step or 0:08d}":
            _remove(folder)


def sweep(run: Path) -> None:
    """Delete what a process that was killed left half written or half deleted."""
    for pattern in (".draft-*", ".doomed-*"):
        for left in (run / "checkpoints").glob(pattern):
            shutil.rmtree(left, ignore_errors=True)


def _remove(folder: Path) -> None:
    # Renamed first: a crash half-way must not leave half a checkpoint under its name.
    doomed = folder.with_name(f".doomed-{folder.name}")
    shutil.rmtree(doomed, ignore_errors=True)
    folder.rename(doomed)
    shutil.rmtree(doomed)


def latest(run: Path) -> Path:
    """Return the latest checkpoint of a run.

    Raises:
        TrainingError: the run has none.
    """
    found = folders(run)
    if not found:
        raise TrainingError(
            "has no checkpoint", where=run, fix="train it first, or name another run"
        )
    return found[-1]


def best(run: Path) -> Path:
    """Return the checkpoint with the lowest validation loss, or the latest if none was scored."""
    last = latest(run)
    step = read_state(last).best_step
    wanted = last.with_name(f"{_PREFIX}{step:08d}") if step is not None else last
    return wanted if wanted.exists() else last


def read_state(folder: Path) -> RunState:
    """Read a checkpoint's counters.

    Raises:
        TrainingError: they are missing or damaged.
    """
    path = folder / STATE
    try:
        return RunState.model_validate_json(path.read_bytes())
    except OSError as error:
        raise TrainingError(
            f"cannot be read ({error.strerror})", where=path, fix=_other(folder)
        ) from error
    except ValidationError as error:
        raise from_validation(
            TrainingError, error, where=path, what="is damaged", fix=_other(folder)
        ) from error


def read_weights(folder: Path) -> dict[str, Tensor]:
    """Read a checkpoint's weights, digest checked."""
    return _read(folder, MODEL)


def read_optimizer(folder: Path) -> dict[str, Tensor]:
    """Read a checkpoint's optimizer state, digest checked."""
    return _read(folder, OPTIMIZER)


def _read(folder: Path, name: str) -> dict[str, Tensor]:
    path = folder / name
    expected = read_state(folder).sha256.get(name)
    try:
        digest = sha256_file(path)
        if digest != expected:
            raise TrainingError("does not match its digest", where=path, fix=_other(folder))
        tensors = read_tensors(path)
        return {
            key: torch.from_numpy(tensor.array().astype(DTYPES[tensor.dtype], copy=True))
            for key, tensor in tensors.items()
        }
    except OSError as error:
        raise TrainingError(
            f"cannot be read ({error.strerror})", where=path, fix=_other(folder)
        ) from error
    except ArtifactError as error:
        raise TrainingError(error.what, where=path, fix=_other(folder)) from error


def _to_numpy(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    return {name: tensor.detach().cpu().numpy() for name, tensor in tensors.items()}


def _other(folder: Path) -> str:
    return f"delete {folder.name} to go on from the checkpoint before it"
