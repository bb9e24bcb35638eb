"""Routes that change or prove what is served."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from fastapi import FastAPI, Request, Response
from pydantic import Field

from ingot.server.access.in_flight import Underway, Use
from ingot.server.access.request_context import visit_of
from ingot.server.engine.service import Service
from ingot.server.http.errors import ApiError
from ingot.server.routes.health import json_response
from ingot.server.routes.request_body import read_request
from ingot.server.schemas.common import Strict
from ingot.server.schemas.completions import Model
from ingot.server.schemas.openapi import body_of, responses_of


class ExchangeRequest(Strict):
    """The body of ``POST /admin/ingots``."""

    model: Annotated[str, Field(min_length=1, max_length=200)]
    """The name it is to have; a model of that name is replaced."""
    path: Annotated[str, Field(min_length=1, max_length=4096)]
    """The ingot's folder, on the server's machine."""


class RoundRequest(Strict):
    """The body of ``POST /admin/rounded``."""

    model: str


class VerifyRequest(Strict):
    """The body of ``POST /admin/verify``."""

    model: str


class EndRequest(Strict):
    """The body of ``POST /admin/end``."""

    number: Annotated[int, Field(ge=1, lt=2**53)]
    """The request's number, as ``GET /admin/activity`` lists it."""


@dataclass(frozen=True)
class Ended:
    """A request that is being ended."""

    number: int


@dataclass(frozen=True)
class Report:
    """What is being answered, and what was."""

    requests: list[Underway]
    """Under way, oldest first, at most 500."""
    keys: list[Use]
    """What each key has used since the server started."""


@dataclass(frozen=True)
class Verified:
    """What the weights in the server's memory hash to."""

    model: str
    digest: str
    """The ingot's, as its manifest has it."""
    tensors: dict[str, str]
    """SHA-256 of every tensor, computed now from memory."""
    verified: bool
    """Whether all of them are as the manifest has them."""


def add_admin(app: FastAPI, service: Service) -> None:
    """Add the addresses that change or prove what is served."""
    verifying = asyncio.Lock()

    @app.post(
        "/admin/ingots",
        response_model=Model,
        responses=responses_of(),
        openapi_extra=body_of(app, ExchangeRequest),
    )
    async def exchange(http_request: Request) -> Response:
        """Open an ingot and serve it by a name; needs a key that has `admin`.

        Requests under way end on the ingot that they began with.
        """
        _check_admin(http_request)
        request = await read_request(http_request, ExchangeRequest, service.config)
        model = await service.models.replace(request.model, Path(request.path))
        return json_response(model.description)

    @app.post(
        "/admin/rounded",
        response_model=Model,
        responses=responses_of(),
        openapi_extra=body_of(app, RoundRequest),
    )
    async def rounded(http_request: Request) -> Response:
        """Serve a copy of a model in int8 beside it, as `NAME:int8`, to compare the two.

        Needs a key that has `admin`, or a server that is private and asks for no keys.
        """
        if service.keys is not None or service.config.allow_public:
            _check_admin(http_request)
        request = await read_request(http_request, RoundRequest, service.config)
        model = await service.models.round(request.model)
        return json_response(model.description)

    @app.post(
        "/admin/verify",
        response_model=Verified,
        responses=responses_of(),
        openapi_extra=body_of(app, VerifyRequest),
    )
    async def verify(http_request: Request) -> Response:
        """Hash the weights in the server's memory and compare them with the manifest."""
        request = await read_request(http_request, VerifyRequest, service.config)
        model = service.take_up(visit_of(http_request), request.model)
        async with verifying:  # one at a time: it reads all of the weights
            tensors = await asyncio.to_thread(model.loop.weight_digests)
        if not tensors:
            raise ApiError(
                409,
                "what is in memory was never sealed: the weights were converted when they were "
                "loaded; serve an ingot in the format that is computed in",
                code="not_comparable",
            )
        manifest = model.ingot.manifest
        expected = {name: record.sha256 for name, record in manifest.tensors.items()}
        return json_response(
            Verified(model.name, manifest.digest, tensors, verified=tensors == expected)
        )


def add_activity(app: FastAPI, service: Service) -> None:
    """Add the addresses that show what is being answered, and end it."""

    @app.get("/admin/activity", response_model=Report, responses=responses_of())
    async def activity(http_request: Request) -> Response:
        """Say what is being answered: for a key its own, for one that has `admin` all."""
        key = visit_of(http_request).key
        report = Report(service.activity.requests(key), service.activity.use(key))
        return json_response(report)

    @app.post(
        "/admin/end",
        response_model=Ended,
        responses=responses_of(),
        openapi_extra=body_of(app, EndRequest),
    )
    async def end(http_request: Request) -> Response:
        """End a request that is being answered, as if its client had gone."""
        request = await read_request(http_request, EndRequest, service.config)
        if not service.activity.end(request.number, visit_of(http_request).key):
            raise ApiError(404, "no such request is being answered", code="not_found")
        return json_response(Ended(request.number))


def _check_admin(http_request: Request) -> None:
    key = visit_of(http_request).key
    if key is None or not key.admin:
        raise ApiError(
            403,
            "what is served is changed only by the holder of a key with admin = true",
            code="not_permitted",
        )
