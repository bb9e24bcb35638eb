"""Records that cross to the core, which reads their fields by name.

The shape and weights of a model are made here. The inputs of a step are protocols: the core takes
the engine's own objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from ingot.native import _core


class ModelShape(NamedTuple):
    """Sizes of the transformer that its weights do not tell."""

    hidden: int
    feed_forward: int
    query_heads: int
    key_heads: int
    head_dim: int
    positions: int
    """Tokens of the longest context."""
    rope_theta: float
    norm_eps: float
    sampled_vocabulary: int
    """Only tokens below this are sampled; the embedding may have more rows."""
    window: int = 0
    """Tokens that each token attends to, itself included; 0 for all."""


class LayerWeights(NamedTuple):
    """One layer: norm weights in float32, (hidden,) or (head_dim,), and packed matrices."""

    attention_norm: NDArray[np.float32]
    query_norm: NDArray[np.float32]
    key_norm: NDArray[np.float32]
    feed_forward_norm: NDArray[np.float32]
    qkv: _core.Matrix
    """Query heads, key heads, value heads."""
    output: _core.Matrix
    gate_up: _core.Matrix
    """Gates, then ups."""
    down: _core.Matrix


class ModelWeights(NamedTuple):
    """All weights; the model keeps their memory alive."""

    embedding: _core.Matrix
    head: _core.Matrix
    final_norm: NDArray[np.float32]
    layers: Sequence[LayerWeights]


class CacheShape(NamedTuple):
    """The paged key-value cache."""

    format: str
    """bf16, f32 or int8."""
    blocks: int
    block_size: int
    """Tokens in a block, a multiple of 16."""


class Adjustment(Protocol):
    """What penalties and bias do to the scores of some tokens: divide or multiply, then add."""

    @property
    def ids(self) -> NDArray[np.int32]:
        """Token ids (n,)."""

    @property
    def factors(self) -> NDArray[np.float64]:
        """Finite and above 0 (n,)."""

    @property
    def shifts(self) -> NDArray[np.float64]:
        """Finite (n,)."""


class SamplingParams(Protocol):
    """How a sequence is sampled."""

    @property
    def temperature(self) -> float:
        """0 is greedy."""

    @property
    def top_p(self) -> float:
        """In (0, 1]."""

    @property
    def min_p(self) -> float:
        """In [0, 1]."""

    @property
    def typical_p(self) -> float:
        """In (0, 1]."""

    @property
    def top_k(self) -> int:
        """0 keeps all."""

    @property
    def logprobs(self) -> int | None:
        """How many of the likeliest tokens to report; None reports nothing."""


class SamplingRow(Protocol):
    """Requests a token after one position."""

    @property
    def params(self) -> SamplingParams:
        """How to sample it."""

    @property
    def seed(self) -> int:
        """In [0, 2**64)."""

    @property
    def position(self) -> int:
        """Index of the token to sample: with ``seed``, the random stream's key."""

    @property
    def forced_token(self) -> int | None:
        """Report on this token instead of sampling one."""

    @property
    def adjustment(self) -> Adjustment | None:
        """Applied before sampling."""

    @property
    def mask(self) -> NDArray[np.uint32] | None:
        """Allowed tokens: bit ``i % 32`` of word ``i // 32``; None allows all."""


class ModelInput(Protocol):
    """Consecutive tokens of one sequence: a chunk of prefill, or one decode."""

    @property
    def token_ids(self) -> Sequence[int]:
        """At least one."""

    @property
    def start(self) -> int:
        """Position of the first."""

    @property
    def block_table(self) -> Sequence[int]:
        """Cache blocks of the sequence, in order."""

    @property
    def sampling(self) -> SamplingRow | None:
        """After the last token."""

    @property
    def verify_rows(self) -> Sequence[SamplingRow]:
        """After the tokens just before the last one; only together with ``sampling``."""

    @property
    def hidden(self) -> bool:
        """Return the last hidden states; never together with ``sampling``."""
