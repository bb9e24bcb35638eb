"""The compiled module. Arrays are C-contiguous; another dtype or layout raises ``TypeError``.

B windows, T tokens, H heads of queries, G of keys and values (a divisor of H), K their width (a
multiple of 16, at most 256). uint16 are the bits of bfloat16.
"""

import numpy as np
from numpy.typing import NDArray

_Bits = NDArray[np.uint16]

def can_attend() -> bool:
    """Tell whether this CPU has what the kernels need, AVX-512 with BF16."""

class Attention:
    """Causal attention with threads of its own; one thread may call it at a time.

    Every row i of a window sees its tokens from ``starts[i]`` (int32, (B, T)), or from the first
    one where that is None, to i. ``ValueError`` where sizes do not fit together or a start lies
    past its row.
    """

    def __init__(self, threads: int) -> None: ...
    def forward(
        self,
        queries: _Bits,
        keys: _Bits,
        values: _Bits,
        starts: NDArray[np.int32] | None,
        mixed: _Bits,
        totals: NDArray[np.float32],
    ) -> None:
        """Write what is mixed (B, T, H, K) and the scores' log-sum-exp (B, H, T)."""

    def backward(
        self,
        queries: _Bits,
        keys: _Bits,
        values: _Bits,
        starts: NDArray[np.int32] | None,
        totals: NDArray[np.float32],
        by_mixed: _Bits,
        by_queries: _Bits,
        by_keys: _Bits,
        by_values: _Bits,
    ) -> None:
        """Write the gradients by queries, keys and values from the one by what was mixed."""
