"""Interface of an executor, which runs the model for one step of a batch."""

from __future__ import annotations

from collections.abc import Sequence as Seq
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ingot.inference.request.params import SamplingParams
from ingot.inference.request.penalties import Adjustment
from ingot.inference.request.sequence import SampledToken
from ingot.model.config import ModelConfig

FEATURES = frozenset(
    {
        "verify_rows",
        "forced_token",
        "hidden",
        "mask",
        "repetition_penalty",
        "presence_penalty",
        "frequency_penalty",
        "logit_bias",
        "typical_p",
    }
)
"""Optional abilities of an executor: names of fields of ``ModelInput``, ``SamplingRow`` and
``SamplingParams``. The three penalties and the bias reach it as ``SamplingRow.adjustment``."""


class SamplingRow(NamedTuple):
    """Request for a token after one position of a chunk."""

    params: SamplingParams
    seed: int
    position: int
    """Index of the token in prompt plus output; with ``seed``, the key of the random number."""
    forced_token: int | None = None
    """Sample nothing; report the log-probability of this token, which is known to follow."""
    adjustment: Adjustment | None = None
    """Penalties and bias, applied before sampling; None if there are none."""
    mask: NDArray[np.uint32] | None = None
    """Which tokens may be sampled: bit ``i % 32`` of word ``i // 32`` is token i's. None: all."""


class ModelInput(NamedTuple):
    """Consecutive tokens of one sequence to run in a step: a chunk of prefill, or one decode."""

    token_ids: Seq[int]
    start: int
    """Position of the first of them in its sequence; earlier ones are in the cache."""
    block_table: Seq[int]
    """Cache blocks of the sequence, enough for ``start + len(token_ids)`` tokens."""
    sampling: SamplingRow | None
    """After the last token; None to sample nothing there."""
    verify_rows: tuple[SamplingRow, ...] = ()
    """After the tokens before the last one, in order and up to it; only with ``sampling``."""
    hidden: bool = False
    """Return the last hidden states of all tokens; never with ``sampling``."""


class HiddenStates(NamedTuple):
    """Hidden states of a chunk that requested them, after the final norm."""

    states: NDArray[np.float32]
    """(tokens, hidden)."""


class Failure(NamedTuple):
    """Why an input has no result, such as scores that are not finite.

    Its sequence must end, and none of the blocks it was to fill may be reused as a prefix. The
    other inputs of the step are not affected.
    """

    reason: str
    """As an error message: what was wrong, where, what to do."""


Result = SampledToken | HiddenStates | Failure | None


class Executor(Protocol):
    """Runs the frozen model. Not thread-safe: one engine owns it."""

    config: ModelConfig
    block_size: int
    """Tokens in one cache block."""
    num_blocks: int
    """Number of cache blocks."""

    @property
    def features(self) -> frozenset[str]:
        """Which of ``FEATURES`` it supports; the engine refuses requests that need others."""

    def step(self, inputs: Seq[ModelInput]) -> Seq[Result]:
        """Run every input; return one entry for each, None if it requested nothing.

        An input that gives values that are not finite, or whose mask allows no token, has a
        ``Failure`` as its entry, also if it requested nothing. What it left in the cache
        changes no other sequence's result, now or later.

        Raises:
            UsageError: an input that cannot be run, such as a block that does not exist.
        """

    def try_step(self, inputs: Seq[ModelInput]) -> Seq[Result] | None:
        """Run every input as ``step`` does, or return None where ``interrupt`` stopped it.

        What a stopped step left in the cache is what the same inputs write again. An executor
        that cannot be interrupted always finishes.

        Raises:
            UsageError: as ``step``.
        """

    def interrupt(self, on: bool) -> None:
        """Stop ``try_step``, now and until called with False. Thread-safe."""

    def weight_digests(self) -> dict[str, str]:
        """Return the SHA-256 of each of the ingot's tensors, from the memory used to compute.

        Thread-safe, also during a step. Empty if the executor rounds the weights, so that
        its memory cannot be compared with the ingot.
        """

    def yield_cpu(self, on: bool) -> None:
        """Leave one CPU to other threads of the process, or reclaim it. Thread-safe.

        A hint: results do not change, and the executor reclaims the CPU by itself after a
        few milliseconds.
        """

    def close(self) -> None:
        """Release memory and threads; using it afterwards is an error."""
