"""The compiled module. Arrays are C-contiguous; another dtype or layout raises ``TypeError``.

B windows, T tokens, H heads of queries, G of keys and values (a divisor of H), K their width (a
multiple of 16, at most 256). uint16 are the bits of bfloat16.
"""

import numpy as np
from numpy.typing import NDArray

_Bits = NDArray[np.uint16]
_Floats = NDArray[np.float32]

def supported() -> bool:
    """Tell whether this CPU has what the kernels need, AVX-512 with BF16."""

class Kernels:
    """The kernels with threads of their own; one thread may call them at a time.

    ``ValueError`` where sizes do not fit together or a number is out of range.
    """

    def __init__(self, threads: int) -> None: ...
    def attend(
        self,
        queries: _Bits,
        keys: _Bits,
        values: _Bits,
        starts: NDArray[np.int32] | None,
        mixed: _Bits,
        totals: _Floats,
    ) -> None:
        """Write what is mixed (B, T, H, K) and the scores' log-sum-exp (B, H, T).

        Every row i of a window sees its tokens from ``starts[i]`` (B, T) to i; from the first one
        without ``starts``.
        """

    def attend_back(
        self,
        queries: _Bits,
        keys: _Bits,
        values: _Bits,
        starts: NDArray[np.int32] | None,
        totals: _Floats,
        grad_mixed: _Bits,
        grad_queries: _Bits,
        grad_keys: _Bits,
        grad_values: _Bits,
    ) -> None:
        """Write the gradients by queries, keys and values from the one by what was mixed."""

    def norm(
        self,
        x: _Floats | _Bits,
        weight: _Floats,
        eps: float,
        cosines: _Floats | None,
        sines: _Floats | None,
        heads: int,
        out: _Bits,
    ) -> None:
        """Write x (rows, width) over its root mean square, times the weight; then rotated.

        The angles (count, width / 2) hold for ``heads`` rows each, and from the first again.
        """

    def norm_back(
        self,
        x: _Floats | _Bits,
        weight: _Floats,
        eps: float,
        cosines: _Floats | None,
        sines: _Floats | None,
        heads: int,
        grad_out: _Bits,
        grad_x: _Floats | _Bits,
        grad_weight: _Floats,
    ) -> None:
        """Write the gradients by x, of its dtype, and by the weight."""
