"""Routes that change or prove what is served."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from ingot.server.access.in_flight import InFlightRequest, KeyUsage
from ingot.server.access.request_context import context_of
from ingot.server.engine.service import Service
from ingot.server.http.errors import ApiError
from ingot.server.http.router import Router
from ingot.server.routes.health import json_response
from ingot.server.routes.request_body import read_request
from ingot.server.schemas.common import Strict
from ingot.server.schemas.completions import Model


class ExchangeRequest(Strict):
    """The body of ``POST /admin/ingots``."""

    model: Annotated[str, Field(min_length=1, max_length=200)]
    """The name it is to have; a model of that name is replaced."""
    path: Annotated[str, Field(min_length=1, max_length=4096)]
    """The ingot's folder, on the server's machine."""


class QuantizeRequest(Strict):
    """The body of ``POST /admin/quantize``."""

    model: str


class VerifyRequest(Strict):
    """The body of ``POST /admin/verify``."""

    model: str


class CancelRequest(Strict):
    """The body of ``POST /admin/cancel``."""

    number: Annotated[int, Field(ge=1, lt=2**53)]
    """The request's number, as ``GET /admin/activity`` lists it."""


@dataclass(frozen=True)
class Cancelled:
    """A request that was cancelled."""

    number: int


@dataclass(frozen=True)
class Report:
    """What is being answered, and what was."""

    requests: list[InFlightRequest]
    """Under way, oldest first, at most 500."""
    keys: list[KeyUsage]
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


def add_admin(router: Router, service: Service) -> None:
    """Add the addresses that change or prove what is served."""
    verifying = asyncio.Lock()

    @router.post("/admin/ingots", Model, body=ExchangeRequest)
    async def exchange(http_request: Request) -> Response:
        """Open an ingot and serve it by a name; needs a key that has `admin`.

        Requests under way end on the ingot that they began with.
        """
        _check_admin(http_request)
        request = await read_request(http_request, ExchangeRequest, service.config)
        model = await service.models.replace(request.model, Path(request.path))
        return json_response(model.description)

    @router.post("/admin/quantize", Model, body=QuantizeRequest)
    async def quantize(http_request: Request) -> Response:
        """Serve a copy of a model in int8 beside it, as `NAME:int8`, to compare the two.

        Needs a key that has `admin`, or a server that is private and asks for no keys.
        """
        if service.keys is not None or service.config.allow_public:
            _check_admin(http_request)
        request = await read_request(http_request, QuantizeRequest, service.config)
        model = await service.models.quantize(request.model)
        return json_response(model.description)

    @router.post("/admin/verify", Verified, body=VerifyRequest)
    async def verify(http_request: Request) -> Response:
        """Hash the weights in the server's memory and compare them with the manifest."""
        request = await read_request(http_request, VerifyRequest, service.config)
        model = service.take_up(context_of(http_request), request.model)
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


def add_activity(router: Router, service: Service) -> None:
    """Add the routes that list running requests and cancel them."""

    @router.get("/admin/activity", Report)
    async def activity(http_request: Request) -> Response:
        """Say what is being answered: for a key its own, for one that has `admin` all."""
        key = context_of(http_request).key
        report = Report(service.activity.requests(key), service.activity.usage(key))
        return json_response(report)

    @router.post("/admin/cancel", Cancelled, body=CancelRequest)
    async def cancel(http_request: Request) -> Response:
        """Cancel a running request, as if its client had disconnected."""
        request = await read_request(http_request, CancelRequest, service.config)
        if not service.activity.cancel(request.number, context_of(http_request).key):
            raise ApiError(404, "no running request has this number", code="not_found")
        return json_response(Cancelled(request.number))


def _check_admin(http_request: Request) -> None:
    key = context_of(http_request).key
    if key is None or not key.admin:
        raise ApiError(
            403,
            "what is served is changed only by the holder of a key with admin = true",
            code="not_permitted",
        )
