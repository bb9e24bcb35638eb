"""An ingot's tensors as a PyTorch module, in memory that cannot be written where there is such."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ingot.artifact import Ingot, SealedBuffer, StoredTensor, widen_to_float32
from ingot.model.bfloat16 import computes_bfloat16
from ingot.model.rotary import Rotary
from ingot.model.transformer import Transformer


def load(ingot: Ingot, device: torch.device, context: int | None = None) -> Transformer:
    """Build the module around the ingot's weights, copying none that can be used in place.

    A quantized ingot's are what its codes stand for, in float32.

    Args:
        ingot: The model.
        device: Where to compute.
        context: Longest context to open it with; None takes the model's own.
    """
    with torch.device("meta"):
        transformer = Transformer(ingot.config)
    if ingot.packed_shapes:
        weights = {name: _sealed(values) for name, values in ingot.float32()}
        ingot.release_weights()
    else:
        tensors = ingot.load()
        stored = {tensor.dtype for tensor in tensors.values()}
        in_bfloat16 = stored == {"BF16"} and (device.type != "cpu" or computes_bfloat16(device))
        weights = {name: _stored(tensor, in_bfloat16) for name, tensor in tensors.items()}
    on_device = {name: weight.to(device) for name, weight in weights.items()}
    transformer.load_state_dict(on_device, assign=True)
    transformer.rotary = Rotary(ingot.config, context).to(device)
    return transformer.requires_grad_(False).eval()


def _stored(tensor: StoredTensor, in_bfloat16: bool) -> Tensor:
    """Return a tensor as it was read, or widened where bfloat16 cannot be computed in."""
    if tensor.dtype == "BF16" and not in_bfloat16:
        return _frombuffer(_widened(tensor), torch.float32, tensor.shape)
    dtype = torch.bfloat16 if tensor.dtype == "BF16" else torch.float32
    return _frombuffer(tensor.data, dtype, tensor.shape)


def digests(transformer: Transformer, stored: Mapping[str, str]) -> dict[str, str]:
    """Return the SHA-256 of each tensor as it was stored, from the memory that computes.

    A bfloat16 tensor widened to float32 is narrowed again for it, which is exact.

    Args:
        transformer: What ``load`` returned.
        stored: The ingot's dtypes by tensor name.
    """
    weights = dict(transformer.named_parameters(remove_duplicate=False))
    return {
        name: hashlib.sha256(_stored_bytes(weights[name], dtype)).hexdigest()
        for name, dtype in stored.items()
    }


def _stored_bytes(weight: Tensor, dtype: str) -> memoryview:
    """Return the bytes that a weight has in the ingot's own format."""
    weight = weight.detach().to("cpu", torch.bfloat16 if dtype == "BF16" else torch.float32)
    return weight.contiguous().view(torch.uint8).numpy().reshape(-1).data


def _widened(tensor: StoredTensor) -> memoryview:
    """Return the float32 values of a bfloat16 tensor, in sealed memory."""
    bits = np.frombuffer(tensor.data, dtype=np.uint16)
    buffer = SealedBuffer(4 * bits.size)
    widen_to_float32(bits, out=np.frombuffer(buffer.view, dtype=np.float32))
    buffer.seal()
    return buffer.readonly


def _sealed(values: NDArray[np.float32]) -> Tensor:
    """Return a copy in sealed memory."""
    buffer = SealedBuffer(values.nbytes)
    np.frombuffer(buffer.view, dtype=np.float32)[:] = values.reshape(-1)
    buffer.seal()
    return _frombuffer(buffer.readonly, torch.float32, values.shape)


def _frombuffer(data: memoryview, dtype: torch.dtype, shape: tuple[int, ...]) -> Tensor:
    """Return a tensor over read-only memory, which it keeps alive."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given buffer is not writable")
        return torch.frombuffer(data, dtype=dtype).view(shape)
