"""Records that cross to the core, which reads their fields by name.

The shape and weights of a model are made here. The inputs of a step are protocols: the core takes
the engine's own objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from ingot.native import _core


class RopeTable(NamedTuple):
    """A rotary position embedding (arXiv:2104.09864) of the first dimensions of each head."""

    frequencies: NDArray[np.float32]
    """Radians a position of each pair (x[i], x[half + i]): (half,), at most half a head."""
    factor: float = 1.0
    """Multiplies cosines and sines."""


class LayerShape(NamedTuple):
    """How one layer attends."""

    window: int = 0
    """Tokens that each token attends to, itself included; 0 for all."""
    rope_table: int = 0
    """Index in ``ModelShape.rope_tables``; -1 rotates nothing."""


class ModelShape(NamedTuple):
    """Sizes of the transformer that its weights do not tell, and how its family differs."""

    hidden: int
    feed_forward: int
    query_heads: int
    key_heads: int
    head_dim: int
    """Even, at most 1024."""
    positions: int
    """Tokens of the longest context."""
    norm_eps: float
    sampled_vocabulary: int
    """Only tokens below this are sampled; the embedding may have more rows."""
    rope_tables: Sequence[RopeTable]
    layers: Sequence[LayerShape]
    norm: Literal["rms", "layer"] = "rms"
    """RMSNorm (arXiv:1910.07467), or LayerNorm (arXiv:1607.06450), whose norms have a bias."""
    head_norm: Literal["none", "head", "projection"] = "head"
    """What RMS norms of queries and keys run over: each head, or all heads of a token."""
    activation: Literal["silu", "gelu_tanh"] = "silu"
    gated: bool = True
    """Whether a gate multiplies the ups (arXiv:2002.05202)."""


class Norm(NamedTuple):
    """The weights of a norm, each (hidden,)."""

    weight: NDArray[np.float32]
    bias: NDArray[np.float32] | None = None


class LayerWeights(NamedTuple):
    """One layer: packed matrices, then norms and biases in float32, None where it has none."""

    qkv: _core.Matrix
    """Query heads, key heads, value heads."""
    output: _core.Matrix
    gate_up: _core.Matrix
    """Gates, then ups; ups alone without a gate."""
    down: _core.Matrix
    attention_norm: Norm | None = None
    """Of the input of attention."""
    attention_output_norm: Norm | None = None
    """Of what attention adds to the residual stream."""
    feed_forward_norm: Norm | None = None
    feed_forward_output_norm: Norm | None = None
    query_norm: NDArray[np.float32] | None = None
    """(head_dim,) or (query_heads * head_dim,), as ``ModelShape.head_norm`` says."""
    key_norm: NDArray[np.float32] | None = None
    """(head_dim,) or (key_heads * head_dim,)."""
    query_bias: NDArray[np.float32] | None = None
    """Like the others, one for each output."""
    key_bias: NDArray[np.float32] | None = None
    value_bias: NDArray[np.float32] | None = None
    output_bias: NDArray[np.float32] | None = None
    gate_bias: NDArray[np.float32] | None = None
    up_bias: NDArray[np.float32] | None = None
    down_bias: NDArray[np.float32] | None = None


class ModelWeights(NamedTuple):
    """All weights; the model keeps their memory alive."""

    embedding: _core.Matrix
    head: _core.Matrix
    final_norm: Norm
    layers: Sequence[LayerWeights]
    positions: _core.Matrix | None = None
    """A learned embedding of each position, (positions, hidden), added to the tokens'."""


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
