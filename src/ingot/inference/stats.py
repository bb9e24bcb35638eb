"""What an engine counts about itself."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class EngineStats:
    """What an engine is doing now, and what it has done since its start."""

    running: int
    waiting: int
    waiting_tokens: int
    """Tokens of prompt, and of answer where preempted, of those that wait."""
    blocks_free: int
    """Blocks that nobody holds, those with cached prefixes included."""
    blocks_total: int
    blocks_peak: int
    """Most blocks that were in use at once."""
    blocks_cached: int
    """Blocks that can be found by the prefix they hold."""
    steps: int
    """Steps run."""
    step_s: float
    """Seconds spent in them."""
    executor_s: float
    """Seconds of these spent in the executor."""
    last_step_s: float
    """Seconds the last step took."""
    prefill_tokens: int
    """Prompt tokens computed, again after a preemption included."""
    generated_tokens: int
    """Tokens drawn."""
    queried_tokens: int
    """Prompt tokens looked up in the prefix cache."""
    cached_tokens: int
    """Prompt tokens found there."""
    drafted_tokens: int
    """Tokens guessed by speculation."""
    accepted_tokens: int
    """Guesses that were right."""
    preemptions: int
    """How often a running sequence was sent back to wait."""
    failed: str | None
    """Why the engine has stopped for good; None while it works."""


@dataclass(slots=True)
class Counters:
    """What only grows; the fields of the same names in ``EngineStats``."""

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
