"""Routes for those who run the server, and the list of models."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from typing import Literal

import orjson
from fastapi import FastAPI, Response
from prometheus_client import CONTENT_TYPE_LATEST

from ingot.server.engine.service import Service
from ingot.server.schemas.completions import Health, Model, ModelList
from ingot.server.schemas.openapi import responses_of


@dataclass(frozen=True)
class Version:
    """Which Ingot this is."""

    version: str


@dataclass(frozen=True)
class Ready:
    """Whether requests are welcome now."""

    status: Literal["ready", "full", "failed"]


def add_operations(app: FastAPI, service: Service) -> None:
    """Add the addresses that say how the server is."""
    shared = responses_of()

    @app.get("/health", response_model=Health, responses={503: {"model": Health}})
    async def health() -> Response:
        """Say whether the engines work; asks for no key."""
        failed = service.models.failed is not None
        first = next(iter(service.models.all.values()))
        status = Health("failed" if failed else "ok", first.ingot.digest)
        return json_response(status, 503 if failed else 200)

    @app.get("/ready", response_model=Ready, responses=shared | {503: {"model": Ready}})
    async def ready() -> Response:
        """Say whether to send requests here: 503 while full or failed."""
        status = _readiness(service)
        return json_response(Ready(status), 200 if status == "ready" else 503)

    @app.get("/version", response_model=Version, responses=shared)
    async def which_version() -> Response:
        """Say which version of Ingot this is."""
        return json_response(Version(version("ingot")))

    @app.get(
        "/metrics",
        response_class=Response,
        responses=shared | {200: {"content": {"text/plain": {}}}},
    )
    async def metrics() -> Response:
        """Report figures in Prometheus' text format."""
        return Response(service.metrics.render(), headers={"content-type": CONTENT_TYPE_LATEST})


def add_models(app: FastAPI, service: Service) -> None:
    """Add the addresses that say which models there are."""

    @app.get("/v1/models", response_model=ModelList, responses=responses_of())
    async def models() -> Response:
        """List the models."""
        return json_response(ModelList([m.description for m in service.models.all.values()]))

    @app.get("/v1/models/{model_id:path}", response_model=Model, responses=responses_of())
    async def model_by_id(model_id: str) -> Response:
        """Describe one model."""
        return json_response(service.models.find(model_id).description)


def json_response(value: object, status: int = 200) -> Response:
    """Return a value as JSON."""
    return Response(orjson.dumps(value), status, media_type="application/json")


def _readiness(service: Service) -> Literal["ready", "full", "failed"]:
    if service.models.failed is not None:
        return "failed"
    full = service.admission.open_requests >= service.config.max_open_requests
    return "full" if full else "ready"
