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

_How = tuple[float, float, float, float, int, int, int, int, int]
"""temperature, top_p, min_p, typical_p, top_k, seed, position, how many log-probabilities (-1:
none), and the token that is given (-1: draw one)."""

_Adjustment = tuple[NDArray[np.int32], NDArray[np.float64], NDArray[np.float64]]
"""Token ids, ascending, and what is done to each score: divide or multiply, then add."""

_Row = tuple[_How, _Adjustment | None, NDArray[np.uint32] | None]
"""How to draw, what to change first, and the mask of tokens that may be drawn."""

_Chunk = tuple[Sequence[int], int, Sequence[int], list[_Row], bool]
"""Token ids, position of the first, cache blocks, a row for each of the last tokens after which
one is asked for, and whether the last hidden states are asked for instead."""

_Choice = tuple[int, float, list[tuple[int, float]]]
"""Token (-1: a score was not finite; -2: the mask allows none), log-probability, the likeliest."""

def kernels() -> list[str]:
    """Return the kernels that this CPU runs, best first."""

def packed_sizes(kind: str, outputs: int, inputs: int, group: int) -> tuple[int, int]:
    """Return the bytes of tiles and the number of scales; ``group`` is ignored for bf16."""

def pack(
    kind: str,
    source: NDArray[np.uint16],
    group: int,
    tiles: NDArray[np.uint8],
    scales: NDArray[np.float32],
) -> None:
    """Pack bfloat16 bits (outputs, inputs) as bf16, int8 or int4."""

def measure_read(size: int, threads: int, repeats: int) -> float:
    """Return the least seconds of reading so much memory once."""

def measure_multiply(matrix: Matrix, rows: int, kernels: str, threads: int, repeats: int) -> float:
    """Return the least seconds of multiplying so many rows, their preparation left out."""

def measure_attend(
    query_heads: int,
    key_heads: int,
    head_dim: int,
    cache: str,
    context: int,
    sequences: int,
    kernels: str,
    threads: int,
    repeats: int,
) -> float:
    """Return the least seconds of one layer's attention in a decode of ``sequences``."""

def measure_peak(kernels: str, threads: int) -> float:
    """Return the multiply-adds of bytes a second between registers."""

def uniform(seed: int, position: int) -> float:
    """Return the random number in [0, 1) that sampling uses for (seed, position)."""

class Matrix:
    """A matrix over packed memory, which it keeps alive and never writes."""

    def __init__(
        self,
        kind: str,
        outputs: int,
        inputs: int,
        group: int,
        tiles: NDArray[np.uint8],
        scales: NDArray[np.float32],
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
        window: int = 0,
        kernels: str = "",
        threads: int = 0,
        pinned: bool = False,
    ) -> None: ...
    @property
    def kernels(self) -> str:
        """Name of the kernels in use."""

    @property
    def threads(self) -> int:
        """Threads that compute, the caller's included."""

    def step(self, chunks: list[_Chunk]) -> tuple[list[_Choice], list[NDArray[np.float32]]]:
        """Run a batch; a choice for each row, and states (tokens, hidden) where asked for.

        Raises ``IndexError`` where a token, position or block is out of range; nothing
        has been run then.
        """

    def logits(self, chunks: list[_Chunk]) -> NDArray[np.float32]:
        """Run a batch; return the scores (rows, vocabulary)."""

    def make_way(self, on: bool) -> None:
        """Let one thread take no work, for 10 ms at most; any thread may ask, at any time."""

    def close(self) -> None:
        """Give back weights, cache and threads; any use afterwards raises ``RuntimeError``."""
