"""Admin routes: replace, quantize and verify models; list and cancel requests."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from ingot.server.access.in_flight import InFlightRequest, KeyUsage
from ingot.server.access.request_context import context_of
from ingot.server.engine.model_registry import ServedModel
from ingot.server.engine.service import Service
from ingot.server.http.errors import ApiError
from ingot.server.http.router import Router
from ingot.server.routes.health import json_response
from ingot.server.routes.request_body import open_request, read_request
from ingot.server.schemas.common import ModelRequest, Strict
from ingot.server.schemas.completions import Model

_REST = 4.0


class ReplaceRequest(Strict):
    """The body of ``POST /admin/ingots``."""

    model: Annotated[str, Field(min_length=1, max_length=200)]
    """The name to serve it by; a model of that name is replaced."""
    path: Annotated[str, Field(min_length=1, max_length=4096, pattern=r"^[^\x00]+$")]
    """The ingot's folder, on the server's machine."""


class QuantizeRequest(ModelRequest):
    """The body of ``POST /admin/quantize``."""


class VerifyRequest(ModelRequest):
    """The body of ``POST /admin/verify``."""


class CancelRequest(Strict):
    """The body of ``POST /admin/cancel``."""

    number: Annotated[int, Field(ge=1, lt=2**53)]
    """The request's number, as ``GET /admin/activity`` lists it."""


@dataclass(frozen=True)
class Cancelled:
    """A request that was cancelled."""

    number: int


@dataclass(frozen=True)
class ActivityReport:
    """The running requests, and the usage of each key."""

    requests: list[InFlightRequest]
    """Oldest first, at most 500."""
    keys: list[KeyUsage]
    """Since the server started."""


@dataclass(frozen=True)
class Verification:
    """The digests of the weights in the server's memory."""

    model: str
    digest: str
    """Of the ingot, from its manifest."""
    tensors: dict[str, str]
    """SHA-256 of every tensor, computed now from memory."""
    verified: bool
    """Whether all of them match the manifest."""


def add_admin(router: Router, service: Service) -> None:
    """Add the routes that change or verify the served models."""
    verifier = _Verifier()

    @router.post("/admin/ingots", Model, body=ReplaceRequest)
    async def replace(http_request: Request) -> Response:
        """Serve an ingot by a name, in place of the model that had it; needs a key with `admin`.

        Running requests finish on the model that they started with.
        """
        _check_admin(http_request)
        request = await read_request(http_request, ReplaceRequest, service)
        model = await service.models.replace(request.model, Path(request.path))
        return json_response(model.description)

    @router.post("/admin/quantize", Model, body=QuantizeRequest)
    async def quantize(http_request: Request) -> Response:
        """Serve a copy of a model in int8 beside it, as `NAME:int8`, to compare the two.

        Needs a key with `admin`, or a private server without keys.
        """
        check_private(service)
        if service.keys is not None:
            _check_admin(http_request)
        request = await read_request(http_request, QuantizeRequest, service)
        model = await service.models.quantize(request.model)
        return json_response(model.description)

    @router.post("/admin/verify", Verification, body=VerifyRequest)
    async def verify(http_request: Request) -> Response:
        """Hash the weights in the server's memory and compare them with the manifest."""
        _, _, model = await open_request(http_request, VerifyRequest, service)
        tensors = await verifier.digests(model)
        if not tensors:
            raise ApiError(
                409,
                "the weights in memory were converted when they were loaded, so they have no "
                "sealed digest; serve an ingot that needs no conversion",
                code="not_comparable",
            )
        manifest = model.ingot.manifest
        expected = {name: record.sha256 for name, record in manifest.tensors.items()}
        return json_response(
            Verification(model.name, manifest.digest, tensors, verified=tensors == expected)
        )


def add_activity(router: Router, service: Service) -> None:
    """Add the routes that list running requests and cancel them."""

    @router.get("/admin/activity", ActivityReport)
    async def activity(http_request: Request) -> Response:
        """List running requests and usage; a key without `admin` sees its own."""
        check_private(service)
        key = context_of(http_request).key
        report = ActivityReport(service.activity.requests(key), service.activity.usage(key))
        return json_response(report)

    @router.post("/admin/cancel", Cancelled, body=CancelRequest)
    async def cancel(http_request: Request) -> Response:
        """Cancel a running request, as if its client had disconnected."""
        check_private(service)
        request = await read_request(http_request, CancelRequest, service)
        if not service.activity.cancel(request.number, context_of(http_request).key):
            raise ApiError(404, "no running request has this number", code="not_found")
        return json_response(Cancelled(request.number))


class _Verifier:
    """Hashes weights for all who ask: one at a time, with pauses.

    Hashing reads all weights and fills the memory bus. So it rests four times as long as it
    took: those who only verify take a fifth of the bus from those who generate.
    """

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._next = 0.0

    async def digests(self, model: ServedModel) -> dict[str, str]:
        """Return the digests of a model's weights in memory; none where they were converted."""
        async with self._turn:
            await asyncio.sleep(max(0.0, self._next - time.monotonic()))
            began = time.monotonic()
            try:
                return await asyncio.to_thread(model.loop.weight_digests)
            finally:
                ended = time.monotonic()
                self._next = ended + _REST * (ended - began)


def check_private(service: Service) -> None:
    """Refuse what would let strangers see and end each other's requests."""
    config = service.config
    if service.keys is None and config.allow_public and not config.open_admin:
        raise ApiError(
            403,
            "a public server without API keys keeps this route closed; require keys "
            "(--api-keys), or start it with --open-admin",
            code="not_permitted",
        )


def _check_admin(http_request: Request) -> None:
    key = context_of(http_request).key
    if key is None or not key.admin:
        raise ApiError(
            403,
            "only a key with admin = true may change the served models",
            code="not_permitted",
        )
