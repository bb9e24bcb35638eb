"""What weights become in an ingot's files: rounded, or quantized and packed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from ingot.artifact.format.manifest import STORED_DTYPE, Dtype, MatrixRecord, Quantization
from ingot.artifact.format.tensor_writer import RawTensor
from ingot.artifact.quantization.bfloat16 import round_to_bfloat16
from ingot.artifact.quantization.packing import pack
from ingot.artifact.quantization.quantize import QuantizedModel, packed_tensors
from ingot.errors import ArtifactError
from ingot.model.config import ModelConfig

Weights = Mapping[str, NDArray[np.float32]]

_PIECE = 1 << 20  # values converted at a time, so that freezing needs no second copy of a model


def plain_tensors(tensors: Weights, config: ModelConfig, dtype: Dtype) -> dict[str, RawTensor]:
    """Describe every tensor as it is stored; each is converted while it is written."""
    return {
        name: RawTensor(STORED_DTYPE[dtype], shape, _converted(name, tensors, shape, dtype))
        for name, shape in config.tensor_shapes().items()
    }


def quantized_tensors(
    tensors: Weights, config: ModelConfig, quantized: QuantizedModel
) -> dict[str, RawTensor]:
    """Describe the packed matrices, and the norms' weights as float32."""
    kinds = {name: (matrix.kind, matrix.group) for name, matrix in quantized.matrices.items()}
    stored = {}
    packed = {}
    for name, (dtype, shape) in packed_tensors(config, kinds).items():
        if name in tensors:
            data: NDArray[np.float32] | Iterator[NDArray[np.generic]] = _converted(
                name, tensors, shape, "float32"
            )
        else:
            matrix, _, part = name.rpartition(".")
            if matrix not in packed:
                packed[matrix] = pack(quantized.matrices[matrix])
            tiles, scales = packed[matrix]
            data = scales if part == "scales" else tiles
        stored[name] = RawTensor(dtype, shape, data)
    return stored


def quantization_of(quantized: QuantizedModel) -> Quantization:
    """Return what the manifest says about a quantized model."""
    return Quantization(
        method=quantized.method,
        calibration_tokens=quantized.calibration_tokens,
        matrices={
            name: MatrixRecord(kind=matrix.kind, group=matrix.group)
            for name, matrix in quantized.matrices.items()
        },
    )


def _converted(
    name: str, tensors: Weights, shape: tuple[int, ...], dtype: Dtype
) -> Iterator[NDArray[np.generic]]:
    """Yield a tensor's values in their stored dtype, refusing any that are not finite in it.

    The tensor is looked up when the first value is asked for: it may be read from a file then.
    """
    tensor = tensors[name]
    if tensor.shape != shape:
        raise ArtifactError(f"has shape {tensor.shape}, not {shape}", where=name)
    if tensor.dtype != np.float32:
        raise ArtifactError(f"has dtype {tensor.dtype}, not float32", where=name)
    flat = np.ascontiguousarray(tensor, dtype="<f4").reshape(-1)
    for start in range(0, flat.size, _PIECE):
        piece = flat[start : start + _PIECE]
        if not np.isfinite(piece).all():
            raise ArtifactError(
                "has values that are not finite", where=name, fix="freeze an earlier checkpoint"
            )
        if dtype == "float32":
            yield piece
            continue
        bits = round_to_bfloat16(piece)
        if ((bits & 0x7F80) == 0x7F80).any():
            raise ArtifactError(
                "has values too large for bfloat16", where=name, fix="freeze it as float32"
            )
        yield bits
