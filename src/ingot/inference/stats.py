"""Statistics of an engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class ObjectiveStats:
    """How an engine kept the latency objectives of its requests since its start."""

    in_time: int
    """Answers that ended within their objectives."""
    late: int
    """Answers that did not, those that failed included; an answer that its client left counts in
    neither."""
    refused: Mapping[str, int]
    """Requests refused because they would have been late, by reason."""
    attainment: float
    """Share of the answers of the last minute that were in time; not a number if none ended."""
    goodput: float
    """Answers in time per second, over the last minute."""
    predicted_s: float
    """Sum of what the steps were predicted to take, in seconds."""
    measured_s: float
    """Sum of what they took."""
    prediction_error: float
    """Mean of |predicted - measured| / measured over the last 512 steps."""


@dataclass(frozen=True)
class EngineStats:
    """Current load of an engine, and totals since its start."""

    running: int
    waiting: int
    waiting_tokens: int
    """Tokens of the waiting sequences: prompts, and the answers so far of preempted ones."""
    blocks_free: int
    """Blocks that no sequence holds, including those with cached prefixes."""
    blocks_total: int
    block_size: int
    """Tokens in a block."""
    blocks_cached: int
    """Blocks in the prefix cache, held or free."""
    steps: int
    """Steps run."""
    step_s: float
    """Seconds spent in them."""
    executor_s: float
    """Seconds of these spent in the executor."""
    last_step_s: float
    """Seconds the last step took."""
    prefill_tokens: int
    """Prompt tokens computed, including recomputation after preemption."""
    generated_tokens: int
    """Tokens sampled."""
    queried_tokens: int
    """Prompt tokens looked up in the prefix cache."""
    cached_tokens: int
    """Prompt tokens found in the prefix cache."""
    drafted_tokens: int
    """Draft tokens of speculation."""
    accepted_tokens: int
    """Draft tokens that were accepted."""
    preemptions: int
    """Number of times a running sequence was returned to the queue."""
    failed: str | None
    """Why the engine stopped permanently; None while it works."""
    background_running: int = 0
    """Background sequences that hold blocks, paused ones included; ``running`` counts others."""
    background_waiting: int = 0
    """Background sequences that wait; ``waiting`` counts others."""
    background_steps: int = 0
    """Steps of background work, of ``steps``."""
    background_step_s: float = 0.0
    """Seconds spent in them, of ``step_s``."""
    interrupted_steps: int = 0
    """Steps of background work that gave way before they had a result."""
    objectives: ObjectiveStats | None = None
    """How objectives were kept; None if no request had one."""


@dataclass(slots=True)
class Counters:
    """Monotonic counters: the fields of the same names in ``EngineStats``."""

    steps: int = 0
    step_s: float = 0.0
    executor_s: float = 0.0
    last_step_s: float = 0.0
    prefill_tokens: int = 0
    generated_tokens: int = 0
    queried_tokens: int = 0
    cached_tokens: int = 0
    drafted_tokens: int = 0
    accepted_tokens: int = 0
    background_steps: int = 0
    background_step_s: float = 0.0
    interrupted_steps: int = 0
