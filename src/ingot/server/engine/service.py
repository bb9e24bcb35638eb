"""The server's parts, as every route needs them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ingot.server.access.admission import Admission
from ingot.server.access.api_keys import Keys
from ingot.server.access.in_flight import Activity
from ingot.server.access.tracing import Tracer
from ingot.server.batches.runner import Batches
from ingot.server.config import ServerConfig
from ingot.server.engine.background_hold import BackgroundHold
from ingot.server.engine.costs import CostMeter
from ingot.server.engine.metrics import Metrics
from ingot.server.engine.model_registry import Models
from ingot.server.engine.outcomes import Outcomes
from ingot.server.engine.response_store import ResponseStore
from ingot.server.engine.sleeping import Sleeper


@dataclass(frozen=True)
class Service:
    """The server's parts, created once and shared by all requests."""

    config: ServerConfig
    models: Models
    admission: Admission
    activity: Activity
    metrics: Metrics
    costs: CostMeter
    outcomes: Outcomes
    responses: ResponseStore
    sleeper: Sleeper
    tracer: Tracer | None
    """None if requests are not traced."""
    keys: Keys | None
    """None if no key is required."""
    trainer: Path | None = None
    """Program that makes updates of a copy of a model, for the page; None permits none."""
    batches: Batches | None = None
    """None if no folder is given for them."""
    hold: BackgroundHold | None = None
    """Gives clients' requests precedence over batches; None where there are none."""
