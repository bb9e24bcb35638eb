"""float32 to bfloat16 and back, without PyTorch. bfloat16 values travel as ``uint16`` bits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_NAN = np.uint16(0x7FC0)


def round_to_bfloat16(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Round float32 values of any shape to the nearest bfloat16; ties go to the even one.

    NaN stays NaN. Values beyond the largest bfloat16 become infinite, as IEEE 754
    rounding demands.

    Returns:
        The bits of each bfloat16, of the same shape.
    """
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    # Adding just under half of the dropped part, or exactly half where the kept
    # part is odd, carries into the kept part exactly when rounding goes up.
    kept_is_odd = (bits >> np.uint32(16)) & np.uint32(1)
    rounded = ((bits + (np.uint32(0x7FFF) + kept_is_odd)) >> np.uint32(16)).astype(np.uint16)
    rounded[np.isnan(values)] = _NAN
    return rounded.reshape(values.shape)


def widen_to_float32(
    bits: NDArray[np.uint16], out: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """Return the float32 values of bfloat16 bits, exactly.

    Args:
        bits: bfloat16 bits, any shape.
        out: Where to put the values, of the same shape; a new array if None.
    """
    values = np.empty(bits.shape, dtype=np.float32) if out is None else out
    words = values.view(np.uint32)
    words[...] = bits
    words <<= np.uint32(16)
    return values
