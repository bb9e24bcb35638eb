"""Phase 2, inference: batched generation from a sealed model."""

from ingot.inference.config import EngineConfig
from ingot.inference.engine import Engine, QueueFull
from ingot.inference.loop import EngineLoop
from ingot.inference.request.grammar import Grammar
from ingot.inference.request.params import RequestOptions, SamplingParams
from ingot.inference.request.sequence import OutputDelta, Sequence, Timing, TokenLogprob
from ingot.inference.scheduling.snapshot import BatchSnapshot, SequenceSnapshot
from ingot.inference.stats import EngineStats

__all__ = [
    "BatchSnapshot",
    "Engine",
    "EngineConfig",
    "EngineLoop",
    "EngineStats",
    "Grammar",
    "OutputDelta",
    "QueueFull",
    "RequestOptions",
    "SamplingParams",
    "Sequence",
    "SequenceSnapshot",
    "Timing",
    "TokenLogprob",
]
