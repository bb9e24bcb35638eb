"""What every route needs."""

from __future__ import annotations

from dataclasses import dataclass

from ingot.server.activity import Activity
from ingot.server.admission import Admission
from ingot.server.config import ServerConfig
from ingot.server.keys import Keys
from ingot.server.metrics import Metrics
from ingot.server.models import Models, ServedModel
from ingot.server.tracing import Tracer
from ingot.server.visit import Visit


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

    def take_up(self, visit: Visit, model_name: str) -> ServedModel:
        """Return the model of this name, kept open until the request is over.

        Raises:
            ApiError: 404 where there is none.
        """
        model = self.models.find(model_name)
        visit.held.enter_context(model.used())
        visit.model = model.name
        return model
