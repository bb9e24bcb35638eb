"""Routes of health, readiness, metrics, version and the list of models."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from typing import Literal

import orjson
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import Response

from ingot.server.access.request_context import context_of
from ingot.server.engine.paced_metrics import PacedMetrics
from ingot.server.engine.service import Service
from ingot.server.http.router import Router
from ingot.server.schemas.completions import Health, Model, ModelList


@dataclass(frozen=True)
class Version:
    """Version of Ingot."""

    version: str


@dataclass(frozen=True)
class Ready:
    """Whether the server accepts requests now."""

    status: Literal["ready", "full", "failed"]


def add_operations(router: Router, service: Service) -> None:
    """Add the routes of health, readiness, version and metrics."""

    @router.get("/health", Health, other_answers={503: Health}, may_refuse=False)
    async def health(_: Request) -> Response:
        """Tell whether the engines work; requires no key."""
        failed = service.models.failed is not None
        first = next(iter(service.models.all.values()))
        status = Health("failed" if failed else "ok", first.ingot.digest)
        return json_response(status, 503 if failed else 200)

    @router.get("/ready", Ready, other_answers={503: Ready})
    async def ready(_: Request) -> Response:
        """Tell whether to send requests here: 503 while full or failed."""
        status = _readiness(service)
        return json_response(Ready(status), 200 if status == "ready" else 503)

    @router.get("/version", Version)
    async def which_version(_: Request) -> Response:
        """Return the version of Ingot."""
        return json_response(Version(version("ingot")))

    paced = PacedMetrics(service.metrics.render)

    @router.get("/metrics", media_types=("text/plain",))
    async def metrics(request: Request) -> Response:
        """Return metrics in Prometheus' text format."""
        body = await paced.read(context_of(request).key)
        return Response(body, headers={"content-type": CONTENT_TYPE_LATEST})


def add_models(router: Router, service: Service) -> None:
    """Add the routes that list and describe models."""

    @router.get("/v1/models", ModelList)
    async def models(_: Request) -> Response:
        """List the models."""
        return json_response(ModelList([m.description for m in service.models.all.values()]))

    @router.get("/v1/models/{model_id}", Model)
    async def model_by_id(request: Request) -> Response:
        """Describe one model."""
        return json_response(service.models.find(request.path_params["model_id"]).description)


def json_response(value: object, status: int = 200) -> Response:
    """Return a value as JSON."""
    return Response(orjson.dumps(value), status, media_type="application/json")


def _readiness(service: Service) -> Literal["ready", "full", "failed"]:
    if service.models.failed is not None:
        return "failed"
    full = service.admission.open_requests >= service.config.max_open_requests
    return "full" if full else "ready"
