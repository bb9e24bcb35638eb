"""Export to compressed-tensors checkpoints, which vLLM, SGLang and transformers read.

int4 becomes W4A16 (``pack-quantized``): the very codes and scales of the ingot. int8 becomes W8A8
(``int-quantized``), which has one scale for each output instead of one for 128 inputs, so it is
rounded again. Layout: github.com/vllm-project/compressed-tensors.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ingot.artifact.export.hf_architecture import hf_model
from ingot.artifact.export.hf_tensors import ExportedTensor
from ingot.artifact.export.hugging_face import (
    STORED,
    ExportDtype,
    converted,
    to_dtype,
    write_folder,
)
from ingot.artifact.export.source import TensorSource
from ingot.artifact.export.target import Exported, Progress
from ingot.artifact.format.shards import SHARD_BYTES
from ingot.artifact.format.tensor_writer import RawTensor
from ingot.artifact.ingot import Ingot
from ingot.artifact.quantization.packing import QuantizedMatrix
from ingot.errors import ArtifactError, UsageError

Preset = Literal["W4A16", "W8A8"]
_PER_WORD = 8
_PRESETS: dict[str, Preset] = {"int4": "W4A16", "int8": "W8A8"}
_NOT_LINEAR = ("model.embed_tokens.weight", "model.position_embeddings.weight")
_HEAD = "lm_head"


def export_compressed(
    ingot: Ingot,
    out: Path,
    *,
    dtype: ExportDtype | None = None,
    overwrite: bool = False,
    shard_bytes: int = SHARD_BYTES,
    progress: Progress | None = None,
) -> Exported:
    """Write a quantized ingot as a compressed-tensors checkpoint.

    Embedding and head, and matrices of a format other than most, are written in ``dtype``.

    Args:
        ingot: An ingot whose matrices are int4 or int8.
        out: The folder to make.
        dtype: Number format of everything that is not quantized, and of the engine's arithmetic;
            by default float16 for int4, whose scales it holds exactly, and bfloat16 for int8.
        overwrite: Replace an earlier export that is there.
        shard_bytes: Largest file of weights.
        progress: Called while it is written.

    Raises:
        UsageError: the ingot is not quantized, or in a way that the format cannot say.
        ArtifactError: a digest differs, or a weight is too large for the number format.
        ResourceError: the disk is full.
    """
    source, model = TensorSource(ingot), hf_model(ingot.config)
    linear = {name: each for name, each in model.tensors.items() if _is_linear(name, each)}
    kind = _kind(ingot, source, linear)
    chosen = dtype or ("float16" if kind == "int4" else "bfloat16")
    if chosen not in STORED:
        raise UsageError(
            f"{chosen!r} is not a number format", where="--dtype", fix=f"use {', '.join(STORED)}"
        )
    stored: dict[str, RawTensor] = {}
    ignored = [_HEAD]  # also where it is the embedding: transformers has a linear layer for it
    group = 0
    for name, tensor in model.tensors.items():
        if name in linear and _stored_as(source, tensor) == kind:
            group = _matrix(source, tensor).group
            write = _w4a16 if kind == "int4" else _w8a8
            stored |= write(source, name, tensor, chosen)
            continue
        if name in linear:
            ignored.append(name.removesuffix(".weight"))
        data = converted(source, name, tensor, chosen)
        stored[name] = RawTensor(STORED[chosen], tensor.shape, data)
    config = {
        **model.config,
        "dtype": chosen,
        "torch_dtype": chosen,
        "quantization_config": _quantization_config(kind, group, ignored),
    }
    return write_folder(
        ingot,
        out,
        config=config,
        stored=stored,
        kind=_PRESETS[kind],
        notes=_notes(kind, chosen, len(ignored) - 1),
        overwrite=overwrite,
        shard_bytes=shard_bytes,
        progress=progress,
    )


def per_channel(weights: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Round (outputs, inputs) to int8 with one scale for each output, symmetric.

    Returns:
        Codes from -127 to 127, and scales (outputs, 1).
    """
    scales = np.abs(weights).max(axis=1, keepdims=True) / np.float32(127)
    usable = np.where(scales > 0, scales, np.float32(1))
    return np.rint(weights / usable).astype(np.int8), usable


def pack_int4(codes: NDArray[np.int8]) -> NDArray[np.int32]:
    """Pack codes (outputs, inputs) from -8 to 7 into words of eight, the first in the low bits."""
    unsigned = (codes.astype(np.int16) + 8).astype(np.uint32)
    outputs, inputs = codes.shape
    eights = unsigned.reshape(outputs, inputs // _PER_WORD, _PER_WORD)
    shifts = np.arange(_PER_WORD, dtype=np.uint32) * np.uint32(4)
    words: NDArray[np.uint32] = np.bitwise_or.reduce(eights << shifts, axis=2, dtype=np.uint32)
    return np.asarray(words).view(np.int32)


def _is_linear(name: str, tensor: ExportedTensor) -> bool:
    """Tell whether a tensor is the matrix of a linear layer other than the head."""
    return (
        len(tensor.shape) == 2
        and tensor.moves_rows
        and name != f"{_HEAD}.weight"
        and not set(tensor.sources) & set(_NOT_LINEAR)
    )


def _stored_as(source: TensorSource, tensor: ExportedTensor) -> str | None:
    return source.stored_kind(tensor.sources[0])


def _kind(ingot: Ingot, source: TensorSource, linear: dict[str, ExportedTensor]) -> str:
    """Return the one format that a checkpoint is written for: that of most matrices."""
    kinds = [_stored_as(source, tensor) for tensor in linear.values()]
    found = [kind for kind in kinds if kind in _PRESETS]
    if not found:
        raise UsageError(
            "is not quantized, and compressed-tensors is a format of quantized models",
            where=ingot.path,
            fix="freeze it with --quantize int8 or int4, or export it with --to hf",
        )
    kind = max(sorted(set(found)), key=found.count)
    for name, tensor in linear.items():
        inputs = tensor.shape[1]
        if kind == "int4" and _stored_as(source, tensor) == kind:
            group = _matrix(source, tensor).group
            if inputs % group:
                raise UsageError(
                    f"{name} has {inputs} inputs, which groups of {group} do not divide",
                    where=ingot.path,
                    fix="freeze it with a smaller --group",
                )
    return str(kind)


def _matrix(source: TensorSource, tensor: ExportedTensor) -> QuantizedMatrix:
    """Return the codes of a matrix, or of several that are exported as one."""
    parts = [matrix for part in tensor.sources if (matrix := source.codes(part)) is not None]
    first = parts[0]
    return QuantizedMatrix(
        first.kind,
        first.group,
        np.concatenate([part.codes for part in parts]),
        np.concatenate([part.scales for part in parts]),
    )


def _w4a16(
    source: TensorSource, name: str, tensor: ExportedTensor, dtype: str
) -> dict[str, RawTensor]:
    """Describe an int4 matrix with the codes and scales that it has."""
    outputs, inputs = tensor.shape
    stem = name.removesuffix(".weight")
    group = _matrix(source, tensor).group

    def words() -> Iterator[NDArray[Any]]:
        yield pack_int4(_matrix(source, tensor).codes)

    def scales() -> Iterator[NDArray[Any]]:
        stored = to_dtype(_matrix(source, tensor).scales, dtype)
        if stored is None:
            raise ArtifactError(
                f"has scales too large for {dtype}", where=name, fix="add --dtype float32"
            )
        yield stored

    return {
        f"{stem}.weight_packed": RawTensor("I32", (outputs, inputs // _PER_WORD), words()),
        f"{stem}.weight_scale": RawTensor(STORED[dtype], (outputs, inputs // group), scales()),
        f"{stem}.weight_shape": RawTensor("I64", (2,), np.array([outputs, inputs], "<i8")),
    }


def _w8a8(
    source: TensorSource, name: str, tensor: ExportedTensor, _dtype: str
) -> dict[str, RawTensor]:
    """Describe an int8 matrix, rounded again with one scale for each output."""

    def rounded(part: int) -> Iterator[NDArray[Any]]:
        yield per_channel(_matrix(source, tensor).dequantized())[part]

    scale = RawTensor("F32", (tensor.shape[0], 1), rounded(1))
    return {
        name: RawTensor("I8", tensor.shape, rounded(0)),
        f"{name.removesuffix('.weight')}.weight_scale": scale,
    }


def _quantization_config(kind: str, group: int, ignored: list[str]) -> dict[str, Any]:
    int4 = kind == "int4"
    weights: dict[str, Any] = {
        "num_bits": 4 if int4 else 8,
        "type": "int",
        "symmetric": True,
        "strategy": "group" if int4 else "channel",
        "group_size": group if int4 else None,
        "dynamic": False,
        "actorder": None,
        "block_structure": None,
        "observer": "minmax",
        "observer_kwargs": {},
    }
    activations = weights | {
        "strategy": "token",
        "group_size": None,
        "dynamic": True,
        "observer": None,
    }
    return {
        "quant_method": "compressed-tensors",
        "format": "pack-quantized" if int4 else "int-quantized",
        "quantization_status": "compressed",
        "global_compression_ratio": None,
        "kv_cache_scheme": None,
        "ignore": ignored,
        "config_groups": {
            "group_0": {
                "targets": ["Linear"],
                "weights": weights,
                "input_activations": None if int4 else activations,
                "output_activations": None,
            }
        },
    }


def _notes(kind: str, dtype: str, others: int) -> tuple[str, ...]:
    if kind == "int4":
        notes = ["Codes and scales are the ingot's own."]
        if dtype == "bfloat16":
            notes = ["Codes are the ingot's own; their scales were rounded to bfloat16."]
    else:
        notes = ["int8 was rounded again, with one scale for each output."]
    notes.append(f"Embedding and head are {dtype}, as their codes stand for.")
    if others:
        notes.append(f"{others} matrices of another format are {dtype}.")
    return tuple(notes)
