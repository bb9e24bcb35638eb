"""What an executor is: the thing that runs the model for one step of a whole batch."""

from __future__ import annotations

from collections.abc import Sequence as Seq
from dataclasses import dataclass
from typing import Protocol

from ingot.inference.sequence import SamplingParams, TokenLogprob
from ingot.model.config import ModelConfig


@dataclass(frozen=True)
class SamplingRow:
    """Asks for a token after a chunk's last position."""

    params: SamplingParams
    seed: int
    position: int
    """Index of the token to draw in prompt plus output: with ``seed``, the random stream's key."""


@dataclass(frozen=True)
class Chunk:
    """Consecutive tokens of one sequence to run in a step: a piece of prefill, or one decode."""

    token_ids: Seq[int]
    start: int
    """Position of the first of them in its sequence; earlier ones are in the cache."""
    block_table: Seq[int]
    """Cache blocks of the sequence, enough for ``start + len(token_ids)`` tokens."""
    sampling: SamplingRow | None
    """None where the chunk does not end the known tokens, so nothing is drawn."""


@dataclass(frozen=True)
class Drawn:
    """The token drawn for a chunk that asked for one."""

    token_id: int
    """Below the tokenizer's size, also where the model's table is padded past it."""
    logprob: TokenLogprob | None
    """Only where the request asked for log-probabilities."""


class Executor(Protocol):
    """Runs the frozen model. Not thread-safe: one engine owns it."""

    config: ModelConfig
    block_size: int
    """Tokens in one cache block."""
    num_blocks: int
    """Cache blocks there are."""

    def step(self, chunks: Seq[Chunk]) -> list[Drawn | None]:
        """Run every chunk; return one entry for each, None where nothing was asked.

        Raises:
            ServeError: the model gave a value that is not finite.
        """

    def close(self) -> None:
        """Give back memory and threads; using it afterwards is an error."""
