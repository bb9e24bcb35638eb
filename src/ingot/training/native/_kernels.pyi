"""The compiled module. Arrays are C-contiguous; another dtype or layout raises ``TypeError``.

B windows, T tokens, H heads of queries, G of keys and values (a divisor of H), K their width (a
multiple of 16, at most 256). uint16 are the bits of bfloat16. Attention and norm take one kind of
numbers throughout; those in float32 may give a norm in bfloat16, too.
"""

import numpy as np
from numpy.typing import NDArray

_Bits = NDArray[np.uint16]
_Floats = NDArray[np.float32]
_Numbers = _Bits | _Floats

def computes_bfloat16() -> bool:
    """Tell whether this CPU has what the kernels in bfloat16 need, AVX-512 with BF16."""

def computes_float32() -> bool:
    """Tell whether the kernels in float32 are for this CPU: one with AVX2 and without AVX-512."""

class Kernels:
    """The kernels with threads of their own; one thread may call them at a time.

    ``ValueError`` where sizes do not fit together or a number is out of range.
    """

    def __init__(self, threads: int) -> None: ...
    def attend(
        self,
        queries: _Numbers,
        keys: _Numbers,
        values: _Numbers,
        starts: NDArray[np.int32] | None,
        mixed: _Numbers,
        totals: _Floats,
    ) -> None:
        """Write what is mixed (B, T, H, K) and the scores' log-sum-exp (B, H, T).

        Every row i of a window sees its tokens from ``starts[i]`` (B, T) to i; from the first one
        without ``starts``.
        """

    def attend_back(
        self,
        queries: _Numbers,
        keys: _Numbers,
        values: _Numbers,
        starts: NDArray[np.int32] | None,
        totals: _Floats,
        grad_mixed: _Numbers,
        grad_queries: _Numbers,
        grad_keys: _Numbers,
        grad_values: _Numbers,
    ) -> None:
        """Write the gradients by queries, keys and values from the one by what was mixed."""

    def norm(
        self,
        x: _Numbers,
        weight: _Floats,
        eps: float,
        cosines: _Floats | None,
        sines: _Floats | None,
        heads: int,
        out: _Numbers,
    ) -> None:
        """Write x (rows, width) over its root mean square, times the weight; then rotated.

        The angles (count, width / 2) hold for ``heads`` rows each, and from the first again.
        """

    def norm_back(
        self,
        x: _Numbers,
        weight: _Floats,
        eps: float,
        cosines: _Floats | None,
        sines: _Floats | None,
        heads: int,
        grad_out: _Numbers,
        grad_x: _Numbers,
        grad_weight: _Floats,
    ) -> None:
        """Write the gradients by x, of its dtype, and by the weight."""

    def gate(self, gates: _Floats, ups: _Floats, out: _Floats) -> None:
        """Write silu(gates) * ups; one dimension."""

    def gate_back(
        self,
        gates: _Floats,
        ups: _Floats,
        grad_out: _Floats,
        grad_gates: _Floats,
        grad_ups: _Floats,
    ) -> None:
        """Write the gradients by gates and ups."""

    def cross_entropy(self, logits: _Floats, targets: NDArray[np.int64], losses: _Floats) -> None:
        """Write each row's cross-entropy, and over the logits (rows, V) the gradient by them."""
