"""A request inside the engine: what is asked of it, what it holds, what it has said."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

FinishReason = Literal["stop", "length", "cancelled", "deadline", "error"]


@dataclass(frozen=True)
class SamplingParams:
    """How tokens are chosen. ``validate`` of ``ingot.inference.sampling`` checks the ranges."""

    max_tokens: int = 256
    """Most tokens to generate; at least 1."""
    temperature: float = 1.0
    """0 is greedy; higher is more varied. At most 10."""
    top_p: float = 1.0
    """Keep the likeliest tokens that together hold this much probability; in (0, 1]."""
    top_k: int = 0
    """Keep this many of the likeliest tokens; 0 keeps all."""
    min_p: float = 0.0
    """Drop tokens less likely than this share of the likeliest; in [0, 1]."""
    seed: int | None = None
    """Same seed, prompt and ingot: same tokens. None draws a fresh seed."""
    stop: tuple[str, ...] = ()
    """Texts that end the answer; not part of it."""
    ignore_eos: bool = False
    """Go on past the end-of-text token."""
    logprobs: int | None = None
    """Report the chosen log-probability and this many of the likeliest; None for neither."""


@dataclass(frozen=True)
class TokenLogprob:
    """Log-probabilities at one generated position, before temperature and filters."""

    token_id: int
    logprob: float
    top: tuple[tuple[int, float], ...]
    """The likeliest tokens with their log-probabilities, likeliest first."""


@dataclass(frozen=True)
class Delta:
    """What one step added to an answer."""

    text: str
    """New text, never half a character and never part of a stop text."""
    token_ids: tuple[int, ...]
    """Tokens generated since the last delta, the end-of-text token left out."""
    logprobs: tuple[TokenLogprob, ...] = ()
    """One entry for each of ``token_ids`` where asked for."""
    finish_reason: FinishReason | None = None
    """Set on the last delta of an answer, and only there."""
    error: str | None = None
    """What went wrong where ``finish_reason`` is "error"."""


class Status(enum.Enum):
    """Where a sequence is in its life."""

    WAITING = "waiting"
    RUNNING = "running"
    FINISHED = "finished"


@dataclass(eq=False)
class Sequence:
    """One prompt and its answer. Owned by the engine; others only hold it as a handle."""

    id: int
    prompt_ids: tuple[int, ...]
    params: SamplingParams
    seed: int
    """The seed that sampling uses: the request's own, or one drawn for it."""
    on_delta: Callable[[Delta], None]
    """Called from the engine's thread for each delta; must not block."""
    deadline: float | None = None
    """``time.monotonic()`` after which the sequence ends with reason "deadline"."""
    output_ids: list[int] = field(default_factory=list)
    block_table: list[int] = field(default_factory=list)
    """Blocks of the key-value cache this sequence holds, in order."""
    computed: int = 0
    """Tokens of prompt and output whose keys and values are in the cache."""
    status: Status = Status.WAITING

    @property
    def length(self) -> int:
        """Tokens of prompt and output."""
        return len(self.prompt_ids) + len(self.output_ids)
