"""What serving changes in memory: the key-value cache grows, the weights stay."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ingot.api import inference
from ingot.api.inference import Model
from ingot.inference import EngineConfig
from ingot.lesson.experiments.engine_load import time_answers
from ingot.lesson.experiments.full_size import memory_digest

_ROUNDS = (1, 3, 4)  # users at once


@dataclass(frozen=True)
class CacheState:
    """Memory of an engine after some answers."""

    answers: int
    tokens: int
    """Written so far."""
    cache_bytes: int
    """Keys and values that are kept, at two bytes a value."""
    digest: str
    """SHA-256 over every weight in memory."""


@dataclass(frozen=True)
class CacheGrowth:
    """Memory of an engine from its start on."""

    rows: tuple[CacheState, ...]
    """The first one is before any answer."""


def trace_cache(ingot: Path, *, tokens: int) -> CacheGrowth:
    """Start an engine with an empty cache, answer users in rounds, and look at memory in between.

    Args:
        ingot: The ingot to load.
        tokens: Length of each answer.
    """
    with inference.load(ingot) as model:
        rows = [_state(model, 0, 0)]
        for users in _ROUNDS:
            start = [model.ingot.tokenizer.start_id]
            timing = time_answers(model, [start] * users, tokens=tokens)
            rows.append(_state(model, rows[-1].answers + users, rows[-1].tokens + timing.tokens))
        return CacheGrowth(tuple(rows))


def _state(model: Model, answers: int, tokens: int) -> CacheState:
    cached_tokens = model.loop.stats().blocks_cached * EngineConfig().block_size
    size = cached_tokens * model.ingot.config.kv_bytes()
    return CacheState(answers, tokens, size, memory_digest(model.ingot))
