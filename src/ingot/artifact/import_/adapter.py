"""PEFT's LoRA adapters, merged into the weights that they are for.

W' = W + scale · B A, in float32, where scale is alpha / r, or alpha / √r with ``use_rslora``
(arXiv:2106.09685, arXiv:2312.03732).
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ingot.artifact.format.tensor_reader import TensorFile
from ingot.artifact.import_.config_fields import ConfigFields
from ingot.artifact.import_.source_folder import SourceFolder
from ingot.artifact.import_.weights import ForeignWeights
from ingot.artifact.quantization.bfloat16 import widen_to_float32
from ingot.errors import ArtifactError
from ingot.strict_json import parse_object

CONFIG_NAME, WEIGHTS_NAME = "adapter_config.json", "adapter_model.safetensors"
_MAX_CONFIG_BYTES = 1 << 20
_PREFIX = "base_model.model."
_DOWN, _UP = ".lora_A.weight", ".lora_B.weight"
_MAX_RANK = 1 << 16

_IRRELEVANT = (
    "auto_mapping",
    "base_model_name_or_path",
    "corda_config",  # how the first matrices were found
    "ensure_weight_tying",
    "eva_config",
    "inference_mode",
    "init_lora_weights",
    "loftq_config",
    "lora_dropout",
    "megatron_core",
    "peft_version",
    "qalora_group_size",
    "revision",
    "runtime_config",
    "target_modules",  # the tensors say it themselves
    "task_type",
)
"""Keys that do not change what is added to the weights."""
_ABSENT = (
    "alora_invocation_tokens",
    "alpha_pattern",
    "arrow_config",
    "exclude_modules",
    "kasa_config",
    "layer_replication",
    "layers_pattern",
    "layers_to_transform",
    "lora_bias",
    "lora_ga_config",
    "megatron_config",
    "modules_to_save",
    "monteclora_config",
    "rank_pattern",
    "target_parameters",
    "trainable_token_indices",
    "use_bdlora",
    "use_dora",
    "use_qalora",
    "velora_config",
)


class AdaptedWeights(NamedTuple):
    """Foreign weights with an adapter added to some of them."""

    base: ForeignWeights
    pairs: Mapping[str, tuple[NDArray[np.float32], NDArray[np.float32]]]
    """A (rank, inputs) and B (outputs, rank) times the scale, by the matrix they are for."""
    transposed: bool
    """The matrices are stored as (inputs, outputs)."""

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Shape of every tensor."""
        return self.base.shapes

    def float32(self, name: str, rows: tuple[int, int] | None = None) -> NDArray[np.float32]:
        """Return a tensor, or some rows of it, with the adapter added."""
        values = self.base.float32(name, rows)
        if name not in self.pairs:
            return values
        down, up = self.pairs[name]
        left, right = (down.T, up.T) if self.transposed else (up, down)
        return values + (left if rows is None else left[slice(*rows)]) @ right


def adapted(base: ForeignWeights, folder: SourceFolder) -> AdaptedWeights:
    """Return weights with the adapter of a folder added when they are read.

    Args:
        base: The model's weights.
        folder: Holds ``adapter_config.json`` and ``adapter_model.safetensors``.

    Raises:
        ArtifactError: the adapter is not LoRA, holds more than pairs of matrices, is not for
            these weights, or a file is missing or malformed.
    """
    for name in (CONFIG_NAME, WEIGHTS_NAME):
        if name not in folder.names:
            raise ArtifactError(
                f"holds no {name}", where=folder.path, fix="name a folder of a PEFT adapter"
            )
    scale, transposed = _read_config(folder)
    where = folder.path / WEIGHTS_NAME
    pairs = {}
    shapes = base.shapes
    file = TensorFile(os.dup(folder.handle(WEIGHTS_NAME)), where=where)
    try:
        for target in _targets(file, where):
            down = _float32(file, f"{_PREFIX}{target}{_DOWN}", where)
            up = _float32(file, f"{_PREFIX}{target}{_UP}", where)
            name = f"{target}.weight"
            _check(name, shapes.get(name), down.shape, up.shape, transposed, where)
            pairs[name] = (down, up * np.float32(scale(down.shape[0])))
    finally:
        file.close()
    return AdaptedWeights(base, pairs, transposed)


class _Scale(NamedTuple):
    rank: int
    alpha: float
    by_root: bool
    where: object

    def __call__(self, rank: int) -> float:
        if rank != self.rank:
            raise ArtifactError(
                f"r is {self.rank}, and a matrix of the adapter has rank {rank}", where=self.where
            )
        return self.alpha / (math.sqrt(rank) if self.by_root else rank)


def _read_config(folder: SourceFolder) -> tuple[_Scale, bool]:
    """Return the adapter's scale by rank, and whether matrices are stored transposed."""
    where = folder.path / CONFIG_NAME
    data = folder.read(CONFIG_NAME, max_bytes=_MAX_CONFIG_BYTES)
    fields = ConfigFields(parse_object(data, where=where), where=where)
    fields.require("peft_type", ("LORA",))
    fields.require("bias", ("none",), default="none")
    fields.ignore(*_IRRELEVANT)
    for name in _ABSENT:
        fields.require(name, (None, False, {}, []))
    rank, alpha = fields.integer("r"), fields.number("lora_alpha")
    if not 1 <= rank <= _MAX_RANK:
        raise fields.wrong("r", f"{rank} is not from 1 to {_MAX_RANK}")
    if not math.isfinite(alpha):
        raise fields.wrong("lora_alpha", "is not finite")
    scale = _Scale(rank, alpha, fields.flag("use_rslora", False), where)
    transposed = fields.flag("fan_in_fan_out", False)
    fields.finish()
    return scale, transposed


def _targets(file: TensorFile, where: object) -> list[str]:
    """Return the names of the matrices that the file has pairs for."""
    found: dict[str, set[str]] = {}
    for name in file.entries:
        target, end = name.removeprefix(_PREFIX), ""
        for end in (_DOWN, _UP):
            if name.startswith(_PREFIX) and name.endswith(end):
                found.setdefault(target.removesuffix(end), set()).add(end)
                break
        else:
            raise ArtifactError(
                f"tensor {name[:200]!r} is not a pair of LoRA's matrices", where=where
            )
    for target, ends in found.items():
        if len(ends) != 2:
            raise ArtifactError(f"{target[:200]!r} has one matrix of a pair alone", where=where)
    if not found:
        raise ArtifactError("holds no tensors", where=where)
    return sorted(found)


def _float32(file: TensorFile, name: str, where: object) -> NDArray[np.float32]:
    dtype, values = file.entries[name].dtype, file.read(name)
    if dtype == "BF16":
        return widen_to_float32(values)
    if dtype not in ("F16", "F32"):
        raise ArtifactError(f"tensor {name[:200]!r} is {dtype}, not BF16, F16 or F32", where=where)
    exact: NDArray[np.float32] = values.astype(np.float32, copy=False)
    return exact


def _check(
    name: str,
    shape: tuple[int, ...] | None,
    down: tuple[int, ...],
    up: tuple[int, ...],
    transposed: bool,
    where: object,
) -> None:
    """Refuse a pair that is not for a matrix of the model."""
    if shape is None:
        raise ArtifactError(
            f"is for {name[:200]!r}, which the model does not have",
            where=where,
            fix="use the adapter's own base model",
        )
    if len(down) != 2 or len(up) != 2 or up[1] != down[0]:
        raise ArtifactError(f"matrices of {name[:200]!r} are {down} and {up}", where=where)
    if (up[0], down[1]) != (shape[::-1] if transposed else shape):
        raise ArtifactError(
            f"is for {name[:200]!r} of shape {(up[0], down[1])}, the model's has {shape}",
            where=where,
            fix="use the adapter's own base model",
        )
