"""Choosing how each weight matrix is stored, and rounding it."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray

from ingot.artifact.quantization.packing import (
    GROUPS,
    PackedShape,
    QuantizedMatrix,
    WeightFormat,
    round_to_nearest,
)
from ingot.errors import ArtifactError, UsageError
from ingot.model.config import ModelConfig

Method = Literal["round", "gptq"]
PackedDtype = Literal["BF16", "F32", "U8"]
_DEFAULT_GROUP = {"int8": 128, "int4": 32, "bf16": 128}


@dataclass(frozen=True)
class Scheme:
    """What matrices are stored as. The first pattern that fits a matrix's name decides.

    Raises:
        UsageError: a kind or a group that does not exist.
    """

    kind: WeightFormat = "int8"
    """Of matrices that no pattern fits."""
    group: int | None = None
    """Inputs that share a scale; None takes 128 for int8 and 32 for int4."""
    patterns: tuple[tuple[str, WeightFormat], ...] = ()
    """(pattern, kind): shell patterns over the names of ``fused_matrices``."""

    def __post_init__(self) -> None:
        for kind in (self.kind, *(kind for _, kind in self.patterns)):
            if kind not in get_args(WeightFormat):
                raise UsageError(
                    f"{kind!r} is not a format of weights",
                    where="quantize",
                    fix="use " + ", ".join(get_args(WeightFormat)),
                )
        if self.group is not None and self.group not in GROUPS:
            raise UsageError(
                f"{self.group} inputs cannot share a scale", where="group", fix="use 32, 64 or 128"
            )

    def kind_of(self, name: str) -> WeightFormat:
        """Return what the matrix of this name is stored as."""
        for pattern, kind in self.patterns:
            if fnmatch.fnmatchcase(name, pattern):
                return kind
        return self.kind

    def group_of(self, kind: WeightFormat) -> int:
        """Return how many inputs share a scale in matrices of a kind."""
        return self.group or _DEFAULT_GROUP[kind]


def parse_scheme(kind: str | None, group: int | None, patterns: Sequence[str]) -> Scheme | None:
    """Return what a user's words ask for, or None where they ask for no quantization.

    Args:
        kind: "int8", "int4", or None.
        group: Inputs that share a scale, or None.
        patterns: ``PATTERN=KIND`` texts.

    Raises:
        UsageError: a kind or group that does not exist, or a part without the whole.
    """
    if kind is None:
        if group is not None or patterns:
            raise UsageError("needs --quantize", where="--group or --tensor", fix="add it")
        return None
    pairs = []
    for text in patterns:
        pattern, equals, name = text.partition("=")
        if not (pattern and equals):
            raise UsageError(
                f"{text!r} is not PATTERN=KIND",
                where="--tensor",
                fix="give one such as '*.down_proj=bf16'",
            )
        pairs.append((pattern, cast(WeightFormat, name)))
    return Scheme(cast(WeightFormat, kind), group, tuple(pairs))  # which checks the kinds


@dataclass(frozen=True)
class QuantizedModel:
    """Every matrix of a model as codes and scales, by the names of ``fused_matrices``."""

    matrices: Mapping[str, QuantizedMatrix]
    method: Method = "round"
    calibration_tokens: int | None = None
    """Tokens that the method looked at."""


def fused_matrices(config: ModelConfig) -> dict[str, tuple[str, ...]]:
    """Return what is multiplied at once: a name, and the tensors whose outputs it holds in turn.

    Queries, keys and values read the same input, and so do gates and ups: one product serves
    each. The names are those of the tensors without ``.weight``. Tables of vectors are named too.
    """
    fused: dict[str, tuple[str, ...]] = {"model.embed_tokens": ("model.embed_tokens.weight",)}
    if config.position_embedding == "learned":
        fused["model.position_embeddings"] = ("model.position_embeddings.weight",)
    mlp_parts = ("gate", "up") if config.gated_mlp else ("up",)
    for layer in range(config.num_hidden_layers):
        attention, mlp = f"model.layers.{layer}.self_attn", f"model.layers.{layer}.mlp"
        fused[f"{attention}.qkv_proj"] = tuple(
            f"{attention}.{part}_proj.weight" for part in ("q", "k", "v")
        )
        fused[f"{attention}.o_proj"] = (f"{attention}.o_proj.weight",)
        fused[f"{mlp}.gate_up_proj"] = tuple(f"{mlp}.{part}_proj.weight" for part in mlp_parts)
        fused[f"{mlp}.down_proj"] = (f"{mlp}.down_proj.weight",)
    if not config.tie_word_embeddings:
        fused["lm_head"] = ("lm_head.weight",)
    return fused


def packed_shapes(
    config: ModelConfig, kinds: Mapping[str, tuple[WeightFormat, int]]
) -> dict[str, PackedShape]:
    """Return the sizes of every fused matrix from the config and each one's (kind, group)."""
    shapes = config.tensor_shapes()
    found = {}
    for name, parts in fused_matrices(config).items():
        outputs = sum(shapes[part][0] for part in parts)
        found[name] = PackedShape(*kinds[name], outputs, shapes[parts[0]][1])
    return found


def packed_tensors(
    config: ModelConfig, kinds: Mapping[str, tuple[WeightFormat, int]]
) -> dict[str, tuple[PackedDtype, tuple[int, ...]]]:
    """Return the dtype and shape of every tensor that a quantized model is stored as, in order."""
    found: dict[str, tuple[PackedDtype, tuple[int, ...]]] = {}
    for name, shape in packed_shapes(config, kinds).items():
        if shape.kind != "bf16":
            found[f"{name}.scales"] = ("F32", shape.scales)
        found[f"{name}.tiles"] = ("BF16" if shape.kind == "bf16" else "U8", shape.tiles)
    found |= {
        name: ("F32", size) for name, size in config.tensor_shapes().items() if _is_gain(size)
    }
    return found


def _is_gain(shape: tuple[int, ...]) -> bool:
    """Tell a norm's weights or a bias, which stay float32, from a matrix."""
    return len(shape) == 1


def fuse(tensors: Mapping[str, NDArray[np.float32]], parts: tuple[str, ...]) -> NDArray[np.float32]:
    """Return the named matrices as one, refusing values that are not finite.

    Raises:
        ArtifactError: names the first tensor with such a value.
    """
    matrices = [tensors[part] for part in parts]  # each is looked up once: it may be read then
    for part, matrix in zip(parts, matrices, strict=True):
        if not np.isfinite(matrix).all():
            raise ArtifactError(
                "has values that are not finite", where=part, fix="freeze an earlier checkpoint"
            )
    return matrices[0] if len(matrices) == 1 else np.concatenate(matrices)


def round_model(
    tensors: Mapping[str, NDArray[np.float32]], config: ModelConfig, scheme: Scheme
) -> QuantizedModel:
    """Quantize every matrix by plain rounding.

    Args:
        tensors: float32 weights, by the names and shapes of ``config.tensor_shapes()``.
        config: Sizes of the model.
        scheme: What to store each matrix as.

    Raises:
        UsageError: a pattern that fits no matrix.
        ArtifactError: a weight that is not finite.
    """
    fused = fused_matrices(config)
    check_patterns(scheme, fused)
    matrices = {}
    for name, parts in fused.items():
        kind = scheme.kind_of(name)
        matrices[name] = round_to_nearest(fuse(tensors, parts), kind, scheme.group_of(kind))
    return QuantizedModel(matrices)


def check_patterns(scheme: Scheme, names: Mapping[str, object]) -> None:
    """Refuse a pattern that fits nothing: it is misspelt."""
    for pattern, _ in scheme.patterns:
        if not fnmatch.filter(names, pattern):
            raise UsageError(
                "fits no matrix of this model",
                where=f"pattern {pattern!r}",
                fix="use names such as model.embed_tokens or model.layers.0.mlp.down_proj",
            )
