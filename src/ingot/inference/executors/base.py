"""What an executor is: the thing that runs the model for one step of a whole batch."""

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
"""What an executor may offer past the plain chunk: names of fields of ``ModelInput``,
``SamplingRow`` and ``SamplingParams``. The four that change scores reach it as
``SamplingRow.adjustment`` alone."""


class SamplingRow(NamedTuple):
    """Asks for a token after one position of a chunk."""

    params: SamplingParams
    seed: int
    position: int
    """Index of the token to draw in prompt plus output: with ``seed``, the random stream's key."""
    forced_token: int | None = None
    """Do not draw, but report the log-probability of this token, which is known to follow."""
    adjustment: Adjustment | None = None
    """Applied before drawing; None where it would change nothing."""
    mask: NDArray[np.uint32] | None = None
    """Which tokens may be drawn: bit ``i % 32`` of word ``i // 32`` is token i's. None: all."""


class ModelInput(NamedTuple):
    """Consecutive tokens of one sequence to run in a step: a piece of prefill, or one decode."""

    token_ids: Seq[int]
    start: int
    """Position of the first of them in its sequence; earlier ones are in the cache."""
    block_table: Seq[int]
    """Cache blocks of the sequence, enough for ``start + len(token_ids)`` tokens."""
    sampling: SamplingRow | None
    """After the last token; None where nothing is drawn there."""
    verify_rows: tuple[SamplingRow, ...] = ()
    """After the tokens just before the last one, in order; only together with ``sampling``."""
    hidden: bool = False
    """Return the last hidden states of all tokens; never together with ``sampling``."""


class HiddenStates(NamedTuple):
    """The last hidden states of a chunk that asked for them, after the final norm."""

    states: NDArray[np.float32]
    """(tokens, hidden)."""


Result = SampledToken | HiddenStates | None


class Executor(Protocol):
    """Runs the frozen model. Not thread-safe: one engine owns it."""

    config: ModelConfig
    block_size: int
    """Tokens in one cache block."""
    num_blocks: int
    """Cache blocks there are."""

    @property
    def features(self) -> frozenset[str]:
        """Which of ``FEATURES`` it offers; the engine refuses requests that need others."""

    def step(self, inputs: Seq[ModelInput]) -> Seq[Result]:
        """Run every chunk; return one entry for each, None where nothing was asked.

        Raises:
            ServeError: the model gave a value that is not finite.
        """

    def weight_digests(self) -> dict[str, str]:
        """Return the SHA-256 of each of the ingot's tensors, from the memory that answers.

        Any thread may call it while another steps. Empty where the executor rounds the
        weights, so that what it holds cannot be compared with the ingot.
        """

    def yield_cpu(self, on: bool) -> None:
        """Leave a CPU to other threads of the process, or take it back; any thread may ask.

        A hint: what is computed stays the same, and without being called back the executor
        takes it back by itself.
        """

    def close(self) -> None:
        """Give back memory and threads; using it afterwards is an error."""
