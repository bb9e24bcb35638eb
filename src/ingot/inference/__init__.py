"""Phase 2, inference: a frozen model answers many at once. Importing this loads no PyTorch."""

from ingot.inference.config import EngineConfig
from ingot.inference.engine import Engine, EngineStats, QueueFull
from ingot.inference.loop import EngineLoop
from ingot.inference.sampling import validate
from ingot.inference.sequence import Delta, SamplingParams, Sequence, TokenLogprob

__all__ = [
    "Delta",
    "Engine",
    "EngineConfig",
    "EngineLoop",
    "EngineStats",
    "QueueFull",
    "SamplingParams",
    "Sequence",
    "TokenLogprob",
    "validate",
]
