"""What every route needs."""

from __future__ import annotations

from dataclasses import dataclass

from ingot.server.access.admission import Admission
from ingot.server.access.api_keys import Keys
from ingot.server.access.in_flight import Activity
from ingot.server.access.request_context import RequestContext
from ingot.server.access.tracing import Tracer
from ingot.server.config import ServerConfig
from ingot.server.engine.metrics import Metrics
from ingot.server.engine.model_registry import Models, ServedModel


@dataclass(frozen=True)
class Service:
    """The server's parts, made once and shared by all requests."""

    config: ServerConfig
    models: Models
    admission: Admission
    activity: Activity
    metrics: Metrics
    tracer: Tracer
    keys: Keys | None
    """None where no key is asked for."""

    def take_up(self, context: RequestContext, model_name: str) -> ServedModel:
        """Return the model of this name, kept open until the request is over.

        Raises:
            ApiError: 404 where there is none.
        """
        model = self.models.find(model_name)
        context.held.enter_context(model.used())
        context.model = model.name
        return model
