"""A sequence in the engine, and the output that it reports."""

from __future__ import annotations

import enum
import sys
import time
from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ingot.inference.request.objective import Timeliness
from ingot.inference.request.params import RequestOptions, SamplingParams

FinishReason = Literal["stop", "length", "cancelled", "deadline", "error"]


@dataclass(frozen=True)
class TokenLogprob:
    """Log-probabilities at one position, before penalties, bias, temperature and filters."""

    token_id: int
    logprob: float
    top: tuple[tuple[int, float], ...]
    """The likeliest tokens with their log-probabilities, likeliest first."""


class SampledToken(NamedTuple):
    """The token sampled for an input that asked for one."""

    token_id: int
    """Below the tokenizer's size, also where the model's table is padded past it."""
    logprob: TokenLogprob | None
    """Only where log-probabilities were asked for, or the token was given."""
    verified: tuple[SampledToken, ...] = ()
    """One for each of the input's ``verify_rows``."""


@dataclass(frozen=True)
class Timing:
    """Time of a sequence's phases, and tokens saved."""

    queue_s: float
    """Seconds from its arrival to its first step."""
    prefill_s: float
    """Seconds from there to its first token."""
    decode_s: float
    """Seconds from there to its end."""
    cached_tokens: int
    """Tokens of the prompt that were found in the prefix cache."""
    drafted_tokens: int
    """Draft tokens of speculation."""
    accepted_tokens: int
    """Draft tokens that were accepted."""
    in_time: bool | None = None
    """Whether it kept its objective; None without one, and where its client left."""


class OutputDelta(NamedTuple):
    """Part of an answer, as one step added it."""

    text: str
    """New text, never half a character and never part of a stop text."""
    token_ids: tuple[int, ...]
    """Tokens generated since the last delta, the one that ended the answer left out."""
    logprobs: tuple[TokenLogprob, ...] = ()
    """One entry for each of ``token_ids``, if requested."""
    finish_reason: FinishReason | None = None
    """Set on the last delta of an answer, and only there."""
    error: str | None = None
    """The error if ``finish_reason`` is "error"."""
    prompt_logprobs: tuple[TokenLogprob | None, ...] = ()
    """On the first delta, if requested: one entry for each prompt token, the first None."""
    timing: Timing | None = None
    """On the last delta."""
    embedding: NDArray[np.float32] | None = None
    """On the last delta of a pooling request: the mean of the last hidden states (hidden,)."""


AGED = -(2**31)
"""The best priority, which a sequence keeps once ageing has brought it forward."""


class Status(enum.Enum):
    """State of a sequence."""

    WAITING = "waiting"
    RUNNING = "running"
    FINISHED = "finished"


@dataclass(eq=False)
class Sequence:
    """One prompt and its answer. Owned by the engine; for others it is a handle."""

    id: int
    prompt_ids: tuple[int, ...]
    params: SamplingParams
    seed: int
    """Seed of sampling: the request's own, or a random one."""
    on_output: Callable[[OutputDelta], None]
    """Called from the engine's thread for each delta; must not block."""
    options: RequestOptions = RequestOptions()  # noqa: RUF009 (it is immutable)
    bad_words: tuple[tuple[int, ...], ...] = ()
    """Token ids of the words that may not be generated."""
    pooling: bool = False
    """Whether the mean of the hidden states is requested instead of an answer."""
    arrived: float = field(default_factory=time.monotonic)
    """``time.monotonic()`` when it was made."""
    output_ids: list[int] = field(default_factory=list)
    block_table: list[int] = field(default_factory=list)
    """Blocks of the key-value cache this sequence holds, in order."""
    computed: int = 0
    """Tokens of prompt and output whose keys and values are in the cache."""
    cached_tokens: int | None = None
    """Prompt tokens found in the prefix cache; None before it first ran."""
    prompt_compute_s: float = 0.0
    """Its share of the steps that read its prompt: the tokens of a step share its time equally."""
    answer_compute_s: float = 0.0
    """Its share of the steps that wrote its answer."""
    charged: int = 0
    """Tokens charged to its tenant; the prompt at once, when it first ran."""
    admission: int | None = None
    """Serial number of its first admission, kept when it is preempted; None before."""
    turn: int = 0
    """Serial number of its last turn, where the sequences of its tenant take turns."""
    passed: int = 0
    """How often another was admitted before it because it did not fit."""
    timeliness: Timeliness | None = None
    """How far it has kept its objective; None if it has none."""
    status: Status = Status.WAITING
    tenant_priority: int = field(init=False)
    """The option of this name, or ``AGED``."""
    priority: int = field(init=False)
    """The option of this name, or ``AGED``."""
    deadline: float | None = field(init=False)
    """``time.monotonic()`` after which the sequence ends with reason "deadline"."""
    length: int = field(init=False)
    """Tokens of prompt and output."""
    token_bytes: bytearray = field(init=False)
    """All of them, as int32 in native byte order."""
    may_reuse: bool = field(init=False)
    """Whether cached blocks may be reused; False if every prompt token must be computed."""

    def __post_init__(self) -> None:
        timeout_s = self.options.timeout_s
        self.tenant_priority = self.options.tenant_priority
        self.priority = self.options.priority
        self.deadline = None if timeout_s is None else self.arrived + timeout_s
        self.length = len(self.prompt_ids)
        self.token_bytes = bytearray(array("i", self.prompt_ids))
        self.may_reuse = not self.pooling and self.params.prompt_logprobs is None

    def append(self, token_id: int) -> None:
        """Append the next token of the answer."""
        self.output_ids.append(token_id)
        self.length += 1
        self.token_bytes += token_id.to_bytes(4, sys.byteorder)
