"""Where a run computes, and with which numbers."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from numpy.typing import NDArray
from torch import Tensor

from ingot.model.bfloat16 import computes_bfloat16
from ingot.training.native import formats


@dataclass(frozen=True)
class Precision:
    """A device and the number format of its matrix products; weights stay float32."""

    device: torch.device
    dtype: torch.dtype

    @classmethod
    def choose(cls, wish: Literal["auto", "float32", "bfloat16"] = "auto") -> Precision:
        """Take CUDA where there is one; under auto, bfloat16 where it is computed in hardware."""
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        if wish == "auto":
            wish = "bfloat16" if computes_bfloat16(device) else "float32"
        return cls(device, torch.bfloat16 if wish == "bfloat16" else torch.float32)

    @property
    def has_kernels(self) -> bool:
        """Whether training's own kernels stand in where it computes."""
        return self.device.type == "cpu" and self.dtype in formats()

    def autocast(self) -> AbstractContextManager[object]:
        """Return the context in which to run the model."""
        return torch.autocast(
            self.device.type, torch.bfloat16, enabled=self.dtype is torch.bfloat16
        )

    def __str__(self) -> str:
        return f"{str(self.dtype).removeprefix('torch.')} on {self.device.type}"


def on_device(values: NDArray[Any] | Tensor, device: torch.device) -> Tensor:
    """Return values of the CPU on ``device``, without waiting for what it has still to do."""
    tensor = values if isinstance(values, Tensor) else torch.from_numpy(values)
    if device.type == "cuda":
        # From other memory the copy would wait, and values with gaps are copied to such first.
        tensor = tensor.contiguous().pin_memory()
    return tensor.to(device, non_blocking=True)
