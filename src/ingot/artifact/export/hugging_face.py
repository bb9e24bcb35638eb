"""Export to a folder that transformers, vLLM and SGLang load."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ingot.artifact.export.hf_architecture import hf_model
from ingot.artifact.export.hf_tensors import ExportedTensor
from ingot.artifact.export.model_card import model_card
from ingot.artifact.export.small_files import CHAT_TEMPLATE, SmallFiles, read_small_files
from ingot.artifact.export.source import TensorSource
from ingot.artifact.export.target import Counter, Exported, Progress, new_folder
from ingot.artifact.format.manifest import CONFIG, INDEX, REQUIRED_FILES, is_weights
from ingot.artifact.format.shards import (
    SHARD_BYTES,
    json_bytes,
    tensor_bytes,
    write_new,
    write_weights,
)
from ingot.artifact.format.tensor_writer import RawTensor
from ingot.artifact.ingot import Ingot
from ingot.artifact.quantization.bfloat16 import round_to_bfloat16
from ingot.errors import ArtifactError, UsageError

ExportDtype = Literal["bfloat16", "float16", "float32"]
STORED = {"bfloat16": "BF16", "float16": "F16", "float32": "F32"}
_CARD = "README.md"
_FILES = REQUIRED_FILES | {INDEX, CHAT_TEMPLATE, _CARD}


def export_hf(
    ingot: Ingot,
    out: Path,
    *,
    dtype: ExportDtype | None = None,
    overwrite: bool = False,
    shard_bytes: int = SHARD_BYTES,
    progress: Progress | None = None,
) -> Exported:
    """Write an ingot in Hugging Face's layout, in the architecture that computes the same.

    Args:
        ingot: The ingot; of a quantized one the weights that its codes stand for are written.
        out: The folder to make.
        dtype: Number format of all tensors; by default the ingot's own, bfloat16 if quantized.
        overwrite: Replace an earlier export that is there.
        shard_bytes: Largest file of weights.
        progress: Called while it is written.

    Raises:
        UsageError: no architecture of Hugging Face computes this model, or ``out`` is taken.
        ArtifactError: a digest differs, or a weight is too large for the number format.
        ResourceError: the disk is full.
    """
    chosen = dtype or ingot.manifest.dtype
    if chosen not in STORED:
        raise UsageError(
            f"{chosen!r} is not a number format", where="--dtype", fix=f"use {', '.join(STORED)}"
        )
    model = hf_model(ingot.config)
    source = TensorSource(ingot)
    stored = {
        name: RawTensor(STORED[chosen], tensor.shape, converted(source, name, tensor, chosen))
        for name, tensor in model.tensors.items()
    }
    notes = _notes(ingot, chosen)
    return write_folder(
        ingot,
        out,
        config=model.config | {"dtype": chosen, "torch_dtype": chosen},
        stored=stored,
        kind=chosen,
        notes=notes,
        overwrite=overwrite,
        shard_bytes=shard_bytes,
        progress=progress,
    )


def write_folder(  # noqa: PLR0913 (all but four have names that say enough)
    ingot: Ingot,
    out: Path,
    *,
    config: Mapping[str, Any],
    stored: Mapping[str, RawTensor],
    kind: str,
    notes: tuple[str, ...],
    overwrite: bool,
    shard_bytes: int,
    progress: Progress | None,
    card_notes: Callable[[], tuple[str, ...]] = tuple,
) -> Exported:
    """Write config, tokenizer, model card and weights as a folder in Hugging Face's layout.

    ``card_notes`` is called after the weights are written, for what is known only then.
    """
    small = read_small_files(ingot)
    total = sum(tensor_bytes(raw) for raw in stored.values())
    with new_folder(out, overwrite=overwrite, marker=CONFIG, belongs=_belongs) as folder:
        for name, data in small.files.items():
            write_new(folder / name, data)
        write_new(folder / CONFIG, json_bytes({**config, **_special_ids(small)}))
        write_weights(stored, folder, shard_bytes, written=Counter(total, progress))
        notes += card_notes()
        card = model_card(ingot, library="transformers", kind=kind, notes=notes)
        write_new(folder / _CARD, card)
    return Exported(out, kind, total, notes)


def _special_ids(small: SmallFiles) -> dict[str, Any]:
    return {"bos_token_id": None, **small.special_ids}


def _belongs(name: str) -> bool:
    return name in _FILES or is_weights(name)


def converted(
    source: TensorSource, name: str, tensor: ExportedTensor, dtype: str
) -> Iterator[NDArray[Any]]:
    """Yield a tensor's values in a number format, when it is its turn to be written.

    Raises:
        ArtifactError: a value is too large for it.
    """
    parts = [source.float32(part) for part in tensor.sources]
    values = parts[0] if tensor.transform is None else tensor.transform(parts)
    stored = to_dtype(values, dtype)
    if stored is None:
        raise ArtifactError(
            f"has values too large for {dtype}", where=name, fix="export it with --dtype float32"
        )
    yield stored


def to_dtype(values: NDArray[np.float32], dtype: str) -> NDArray[Any] | None:
    """Return float32 values rounded to a number format, or None if one is too large for it."""
    if dtype == "float32":
        return np.ascontiguousarray(values, dtype="<f4")
    if dtype == "bfloat16":
        bits = round_to_bfloat16(values)
        return None if ((bits & 0x7F80) == 0x7F80).any() else bits
    with np.errstate(over="ignore"):
        half = values.astype("<f2")
    return half if np.isfinite(half).all() else None


def _notes(ingot: Ingot, dtype: str) -> tuple[str, ...]:
    """Say what was rounded."""
    if ingot.manifest.quantization is not None:
        kinds = sorted({each.kind for each in ingot.manifest.quantization.matrices.values()})
        exact = "exactly" if dtype == "float32" else f"rounded to {dtype}"
        return (f"The weights are what the codes ({', '.join(kinds)}) stand for, {exact}.",)
    if dtype not in ("float32", ingot.manifest.dtype):
        return (f"The weights were rounded from {ingot.manifest.dtype} to {dtype}.",)
    return ()
