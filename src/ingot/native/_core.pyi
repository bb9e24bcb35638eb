"""The compiled module. Arrays are C-contiguous and aligned.

A number out of range, or a field of the wrong type, raises ``ValueError``; an argument of the wrong
type, or an array of another dtype or layout, raises ``TypeError``.
"""

import enum
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from ingot.native.records import CacheShape, ModelInput, ModelShape, ModelWeights

def kernels() -> list[str]:
    """Return the kernels that this CPU runs, best first."""

def packed_sizes(weight_format: str, outputs: int, inputs: int, group: int) -> tuple[int, int]:
    """Return the bytes of tiles and the number of scales; ``group`` is ignored for bf16."""

def measure_read(size: int, threads: int, repeats: int) -> float:
    """Return the least seconds of reading so much memory once."""

def measure_multiply(matrix: Matrix, rows: int, kernels: str, threads: int, repeats: int) -> float:
    """Return the least seconds of multiplying so many rows, without their preparation."""

def measure_attend(
    *,
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
        *,
        weight_format: str,
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

class SampleError(enum.Enum):
    """Why a token could not be sampled."""

    NONE = 0
    NOT_FINITE = 1
    NONE_ALLOWED = 2

class SampledToken:
    """The token of one row."""

    @property
    def token_id(self) -> int:
        """-1 where the input failed."""

    @property
    def logprob(self) -> float:
        """0 unless requested."""

    @property
    def top(self) -> list[tuple[int, float]]:
        """The likeliest tokens with their log-probabilities, if requested."""

class Failure:
    """Why an input has no result; it concerns its own sequence alone."""

    @property
    def input(self) -> int:
        """Index of the input in the step."""

    @property
    def reason(self) -> SampleError:
        """Scores or states that are not finite, or a mask that allows no token."""

    @property
    def position(self) -> int:
        """Of the token that could not be sampled."""

class StepOutput:
    """The results of a step, in the order of its inputs."""

    @property
    def sampled(self) -> list[SampledToken]:
        """One for each row of each input."""

    @property
    def hidden(self) -> list[NDArray[np.float32]]:
        """States (tokens, hidden) of each input that requested them."""

    @property
    def failures(self) -> list[Failure]:
        """At most one for each input."""

class Model:
    """The frozen transformer with its key-value cache and threads.

    One thread at a time may run it; a second gets ``RuntimeError``. Raises ``ValueError`` where
    sizes do not fit together, ``MemoryError`` where the cache does not fit into memory.
    """

    def __init__(
        self,
        *,
        shape: ModelShape,
        weights: ModelWeights,
        cache: CacheShape,
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

    def step(self, inputs: Iterable[ModelInput]) -> StepOutput:
        """Run a batch.

        Raises ``ValueError`` where a token, position, block or parameter is out of range; nothing
        has been run then.
        """

    def try_step(self, inputs: Iterable[ModelInput]) -> StepOutput | None:
        """As ``step``, but None where ``interrupt(True)`` was called before or while it ran.

        What it then left in the cache is what the same inputs write again.
        """

    def interrupt(self, on: bool) -> None:
        """Stop ``try_step``, now and until ``interrupt(False)``; any thread may call it."""

    def logits(self, inputs: Iterable[ModelInput]) -> NDArray[np.float32]:
        """Run a batch; return the scores (rows, vocabulary)."""

    def yield_cpu(self, on: bool) -> None:
        """Let one thread take no work, for 10 ms at most; any thread may call it at any time."""

    def close(self) -> None:
        """Release weights, cache and threads; any use afterwards raises ``RuntimeError``."""

class BpeEncoder:
    """Encoder of a byte-level BPE vocabulary. Safe to call from several threads.

    It splits text as ``ingot.model.bpe_training.split_pattern`` does. Of two merges of the same
    pair the later one counts.
    """

    def __new__(
        cls,
        *,
        byte_ids: NDArray[np.uint32],
        merges: NDArray[np.uint32],
        most_digits: int,
        cache_bytes: int,
    ) -> BpeEncoder:
        """Make one.

        Args:
            byte_ids: The token of each byte (256,).
            merges: Left token, right token and the token that they become (merges, 3), in order.
            most_digits: Most digits of a word.
            cache_bytes: Most memory of the words that each thread remembers.
        """

    def encode(self, texts: list[str]) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
        """Return the ids of all texts (tokens,), and where those of each end (texts,).

        Raises:
            UnicodeEncodeError: a text holds half a surrogate pair.
        """

class WordCounts:
    """Distinct words of texts with their numbers of occurrences."""

    def __new__(cls, *, most_digits: int, longest_run: int, distinct_bytes: int) -> WordCounts:
        """Make one without words.

        Args:
            most_digits: Most digits of a word.
            longest_run: Most letters, punctuation or white space of a word.
            distinct_bytes: Length of the distinct words at which no more text is counted.
        """

    def add(self, text: str) -> bool:
        """Count the words of a text; return False, without counting, if they are full already."""

    def merges(
        self, *, byte_ids: NDArray[np.uint32], tokens: int, vocab_size: int
    ) -> NDArray[np.uint32]:
        """Return the merges of a vocabulary: left, right and the new token (merges, 3).

        The most frequent pair goes first; of equally frequent ones that of lower ids.

        Args:
            byte_ids: The token of each byte (256,), all below ``tokens``.
            tokens: How many tokens there are without merges.
            vocab_size: How many there may be.
        """

def split_words(text: str, *, most_digits: int, longest_run: int) -> NDArray[np.int64]:
    """Return where each word of a text ends, in bytes of its UTF-8 (words,)."""

def class_borders() -> list[int]:
    """Return the characters whose class differs from that of a neighbour."""
