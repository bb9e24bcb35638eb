"""The compiled module. Arrays are C-contiguous; another dtype or layout raises ``TypeError``."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_Layer = tuple[
    NDArray[np.float32],
    NDArray[np.float32],
    NDArray[np.float32],
    NDArray[np.float32],
    Matrix,
    Matrix,
    Matrix,
    Matrix,
]
"""Gains of attention, query, key and feed-forward norms; qkv, output, gate_up, down."""

_Draw = tuple[float, float, float, int, int, int, int]
"""temperature, top_p, min_p, top_k, seed, position, and how many log-probabilities (-1: none)."""

_Chunk = tuple[Sequence[int], int, Sequence[int], _Draw | None]
"""Token ids, position of the first, cache blocks, and how to draw, or None."""

def kernels() -> list[str]:
    """Return the kernels that this CPU runs, best first."""

def packed_size(kind: str, outputs: int, inputs: int, group: int) -> int:
    """Return the bytes that a packed matrix takes; ``group`` is ignored for bf16."""

def pack(kind: str, source: NDArray[np.uint16], group: int, out: NDArray[np.uint8]) -> None:
    """Pack bfloat16 bits (outputs, inputs) into ``out`` as bf16, int8 or int4."""

def uniform(seed: int, position: int) -> float:
    """Return the random number in [0, 1) that sampling uses for (seed, position)."""

class Matrix:
    """A matrix over packed memory, which it keeps alive and never writes."""

    def __init__(
        self, kind: str, outputs: int, inputs: int, group: int, memory: NDArray[np.uint8]
    ) -> None: ...
    def multiply(
        self, x: NDArray[np.float32], kernels: str = "", threads: int = 1
    ) -> NDArray[np.float32]:
        """Return x (rows, inputs) times the matrix transposed: (rows, outputs)."""

class Model:
    """The frozen transformer with its key-value cache and threads. Not thread-safe.

    Raises ``ValueError`` where sizes do not fit together, ``MemoryError`` where the
    cache does not fit into memory.
    """

    def __init__(
        self,
        *,
        hidden: int,
        feed_forward: int,
        query_heads: int,
        key_heads: int,
        head_dim: int,
        positions: int,
        rope_theta: float,
        norm_eps: float,
        drawn_vocabulary: int,
        embedding: Matrix,
        head: Matrix,
        final_norm: NDArray[np.float32],
        layers: list[_Layer],
        cache: str,
        blocks: int,
        block_size: int,
        kernels: str = "",
        threads: int = 0,
    ) -> None: ...
    @property
    def kernels(self) -> str:
        """Name of the kernels in use."""

    @property
    def threads(self) -> int:
        """Threads that compute, the caller's included."""

    def step(self, chunks: list[_Chunk]) -> list[tuple[int, float, list[tuple[int, float]]]]:
        """Run a batch; token, log-probability and likeliest tokens of each chunk that draws.

        A token of -1 says that a score was not finite. Raises ``IndexError`` where a
        token, position or block is out of range; nothing has been run then.
        """

    def logits(self, chunks: list[_Chunk]) -> NDArray[np.float32]:
        """Run a batch; return the scores (chunks that draw, vocabulary)."""

    def close(self) -> None:
        """Give back weights, cache and threads; any use afterwards raises ``RuntimeError``."""
