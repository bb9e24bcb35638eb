"""Phase 2, inference: batched generation from a sealed model."""

from ingot.inference.config import EngineConfig
from ingot.inference.engine import Engine
from ingot.inference.loop import EngineLoop
from ingot.inference.request.grammar import Grammar
from ingot.inference.request.objective import Objective
from ingot.inference.request.params import RequestOptions, SamplingParams
from ingot.inference.request.sequence import OutputDelta, Sequence, Timing, TokenLogprob
from ingot.inference.request_loop import RequestLoop
from ingot.inference.scheduling.forecast import NotInTime
from ingot.inference.scheduling.snapshot import BatchSnapshot, SequenceSnapshot
from ingot.inference.scheduling.waiting_room import QueueFull
from ingot.inference.stats import EngineStats, ObjectiveStats

__all__ = [
    "BatchSnapshot",
    "Engine",
    "EngineConfig",
    "EngineLoop",
    "EngineStats",
    "Grammar",
    "NotInTime",
    "Objective",
    "ObjectiveStats",
    "OutputDelta",
    "QueueFull",
    "RequestLoop",
    "RequestOptions",
    "SamplingParams",
    "Sequence",
    "SequenceSnapshot",
    "Timing",
    "TokenLogprob",
]
