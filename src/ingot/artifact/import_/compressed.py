"""compressed-tensors checkpoints of whole numbers, dequantized while they are read.

Layouts (github.com/vllm-project/compressed-tensors): ``int-quantized`` stores ``weight`` as int8;
``pack-quantized`` stores ``weight_packed``, codes plus 2^(bits-1) packed low bits first into int32.
Both have ``weight_scale`` (outputs, groups) and, where not symmetric, ``weight_zero_point``.
A weight is (code - zero point) * scale. Rounded activations are part of how such a model is run,
not of its weights, so they are left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ingot.artifact.import_.checkpoint import Checkpoint
from ingot.artifact.import_.config_fields import ConfigFields
from ingot.errors import ArtifactError

QUANTIZATION = "quantization_config"
_FORMATS = ("int-quantized", "pack-quantized")
_SUFFIXES = ("_packed", "_scale", "_shape", "_zero_point")
_WORD = 32  # bits


class Scheme(NamedTuple):
    """How the matrices of a checkpoint were quantized."""

    packed: bool
    bits: int
    symmetric: bool
    group: int | None
    """Inputs that share a scale; None is all of an output."""

    def parts(
        self, shape: tuple[int, int], groups: int
    ) -> dict[str, tuple[tuple[str, ...], tuple[int, ...]]]:
        """Return dtypes and shape of what a matrix is stored as, by the ends of their names."""
        outputs, inputs = shape
        found: dict[str, tuple[tuple[str, ...], tuple[int, ...]]] = {
            "_scale": (("BF16", "F16", "F32"), (outputs, groups))
        }
        if self.packed:
            found["_packed"] = (("I32",), (outputs, _words(inputs, self.bits)))
            found["_shape"] = (("I64", "I32"), (2,))
        else:
            found[""] = (("I8",), shape)
        if not self.symmetric:
            rows = _words(outputs, self.bits) if self.packed else outputs
            found["_zero_point"] = (("I32",) if self.packed else ("I8",), (rows, groups))
        return found


def read_scheme(data: Mapping[str, Any], *, where: object) -> Scheme:
    """Read a ``quantization_config``.

    Raises:
        ArtifactError: another method, a key that is not understood, or codes that are not whole
            numbers of 4 or 8 bits.
    """
    fields = ConfigFields(data, where=f"{where} ({QUANTIZATION})")
    fields.require("quant_method", ("compressed-tensors",))
    kind = fields.require("format", _FORMATS)
    fields.require("quantization_status", ("compressed", "frozen", None))
    for name in ("kv_cache_scheme", "moe_sparsity_config", "sparsity_config", "transform_config"):
        fields.require(name, (None, {}))
    fields.ignore("global_compression_ratio", "ignore", "version", "run_compressed")
    groups = fields.table("config_groups")
    group = None if groups is None else groups.table("group_0")
    if groups is None or group is None:
        raise fields.wrong("config_groups", "has no group_0")
    groups.finish()
    fields.finish()
    group.ignore("targets", "input_activations")
    group.require("output_activations", (None,))
    group.require("format", (kind, None))
    weights = group.table("weights")
    if weights is None:
        raise group.wrong("weights", "is missing")
    group.finish()
    return _weights(weights, packed=kind == "pack-quantized")


def _weights(fields: ConfigFields, *, packed: bool) -> Scheme:
    fields.require("type", ("int",))
    fields.require("dynamic", (False, None))
    fields.require("actorder", (None, "weight", "static", False))
    fields.require("block_structure", (None,))
    fields.ignore("observer", "observer_kwargs", "scale_dtype", "zp_dtype")
    bits = fields.integer("num_bits")
    if bits not in ((4, 8) if packed else (8,)):
        raise fields.wrong("num_bits", f"is {bits}, which is not supported")
    strategy = fields.require("strategy", ("channel", "group"))
    group = fields.optional_integer("group_size")
    if strategy == "group" and (group is None or group < 1):
        raise fields.wrong("group_size", "is missing where strategy is 'group'")
    symmetric = fields.flag("symmetric", True)
    fields.finish()
    return Scheme(packed, bits, symmetric, group if strategy == "group" else None)


class CompressedWeights:
    """The tensors of a checkpoint, quantized matrices under the names of what they stand for.

    Args:
        checkpoint: The files.
        scheme: How matrices were quantized.

    Raises:
        ArtifactError: a part of a matrix is missing, or its shapes do not fit together.
    """

    def __init__(self, checkpoint: Checkpoint, scheme: Scheme) -> None:
        self._files, self._scheme = checkpoint, scheme
        self._where = checkpoint.where
        stored = checkpoint.shapes
        self._stored = stored
        self._matrices = {
            name.removesuffix("_scale"): shape
            for name, shape in stored.items()
            if name.endswith(".weight_scale")
        }
        self.shapes: dict[str, tuple[int, ...]] = {
            name: shape for name, shape in stored.items() if not self._is_part(name)
        }
        for name in self._matrices:
            self.shapes[name] = self._check(name)

    def float32(self, name: str, rows: tuple[int, int] | None = None) -> NDArray[np.float32]:
        """Return a tensor, or some rows of it, dequantized in float32."""
        if name not in self._matrices:
            return self._files.float32(name, rows)
        outputs, inputs = self.shapes[name]
        first, last = rows or (0, outputs)
        codes = self._codes(name, (first, last), inputs)
        scales = self._files.float32(f"{name}_scale", (first, last))
        zeros = self._zeros(name, (first, last), outputs)
        group = inputs // scales.shape[1]
        grouped = codes.reshape(last - first, -1, group)
        values = (grouped - zeros[:, :, None]) * scales[:, :, None]
        return values.reshape(last - first, inputs)

    def _codes(self, name: str, rows: tuple[int, int], inputs: int) -> NDArray[np.float32]:
        """Return signed codes as float32."""
        if not self._scheme.packed:
            codes = self._files.array(name, rows)
        else:
            words = self._files.array(f"{name}_packed", rows)
            codes = unpack(words, self._scheme.bits, inputs)
        return codes.astype(np.float32)

    def _zeros(self, name: str, rows: tuple[int, int], outputs: int) -> NDArray[np.float32]:
        """Return the zero points of some rows (rows, groups)."""
        groups = self._matrices[name][1]
        if self._scheme.symmetric:
            return np.zeros((1, groups), dtype=np.float32)
        zeros = self._files.array(f"{name}_zero_point")
        if self._scheme.packed:  # along the outputs
            zeros = unpack(np.ascontiguousarray(zeros.T), self._scheme.bits, outputs).T
        return zeros[slice(*rows)].astype(np.float32)

    def _is_part(self, name: str) -> bool:
        """Tell whether a tensor is part of a quantized matrix."""
        base = name
        for suffix in _SUFFIXES:
            base = base.removesuffix(suffix)
        return base in self._matrices

    def _check(self, name: str) -> tuple[int, int]:
        """Return the shape of a matrix, refusing parts that do not fit together."""
        shape = self._matrix_shape(name)
        group = self._scheme.group or shape[1]
        if shape[1] % group:
            raise ArtifactError(
                f"{name[:200]!r} has {shape[1]} inputs, not a multiple of {group}",
                where=self._where,
            )
        parts = self._scheme.parts(shape, shape[1] // group)
        for suffix, (dtypes, needed) in parts.items():
            part = f"{name}{suffix}"
            if part not in self._stored:
                raise ArtifactError(f"tensor {part[:200]!r} is missing", where=self._where)
            entry = self._files.entry(part)
            if entry.dtype not in dtypes or entry.shape != needed:
                raise ArtifactError(
                    f"tensor {part[:200]!r} is {entry.dtype} {entry.shape}, not "
                    f"{' or '.join(dtypes)} {needed}",
                    where=self._where,
                )
        for suffix in ("", *_SUFFIXES):
            if suffix not in parts and name + suffix in self._stored:
                raise ArtifactError(
                    f"tensor {(name + suffix)[:200]!r} is unexpected", where=self._where
                )
        return shape

    def _matrix_shape(self, name: str) -> tuple[int, int]:
        """Return outputs and inputs of a matrix."""
        shape: tuple[int, ...] = self._stored.get(name, ())
        if self._scheme.packed:
            entry = self._files.entry(f"{name}_shape") if f"{name}_shape" in self._stored else None
            if entry is None or entry.dtype not in ("I64", "I32") or entry.shape != (2,):
                raise ArtifactError(
                    f"tensor '{name[:200]}_shape' is not two sizes", where=self._where
                )
            shape = tuple(int(size) for size in self._files.array(f"{name}_shape"))
        if len(shape) != 2 or min(shape) < 1 or max(shape) > 1 << 30:
            raise ArtifactError(f"{name[:200]!r} has shape {shape}", where=self._where)
        return shape[0], shape[1]


def _words(codes: int, bits: int) -> int:
    """Return how many words hold a row of codes."""
    return math.ceil(codes * bits / _WORD)


def unpack(words: NDArray[np.int32], bits: int, count: int) -> NDArray[np.int8]:
    """Return the signed codes of rows of packed words.

    Args:
        words: (rows, ceil(count * bits / 32)), codes plus 2^(bits-1), low bits first.
        bits: Bits of a code, 4 or 8.
        count: Codes of a row.
    """
    per_word = _WORD // bits
    shifts = np.arange(per_word, dtype=np.uint32) * np.uint32(bits)
    codes = (words.view(np.uint32)[:, :, None] >> shifts) & np.uint32((1 << bits) - 1)
    signed = codes.astype(np.int16) - (1 << (bits - 1))
    return signed.reshape(len(words), -1)[:, :count].astype(np.int8)
