"""Hardware support for bfloat16 on a device."""

from __future__ import annotations

import torch


def computes_bfloat16(device: torch.device) -> bool:
    """Return whether ``device`` multiplies bfloat16 matrices in hardware.

    Elsewhere PyTorch emulates them, which is slower than float32.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_avx512_bf16_supported())
