"""Admin routes: verify models; list and cancel requests."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from ingot.server.access.in_flight import InFlightRequest, KeyUsage
from ingot.server.access.request_context import context_of
from ingot.server.engine.model_registry import ServedModel
from ingot.server.engine.outcomes import KeyOutcomes
from ingot.server.engine.service import Service
from ingot.server.http.errors import ApiError
from ingot.server.http.router import Router
from ingot.server.routes.health import json_response
from ingot.server.routes.request_body import open_request, read_request
from ingot.server.schemas.common import ModelRequest, Strict

_REST = 4.0


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
    """The running requests, and what each key used and got."""

    requests: list[InFlightRequest]
    """Oldest first, at most 500."""
    keys: list[KeyUsage]
    """Since the server started."""
    outcomes: list[KeyOutcomes]
    """Answers in time and late, and requests refused, of each model and key."""


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
    """Add the route that verifies the served models."""
    verifier = _Verifier()

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
        """List running requests, usage and outcomes; a key without `admin` sees its own."""
        check_private(service)
        key = context_of(http_request).key
        running, usage = service.activity.requests(key), service.activity.usage(key)
        return json_response(ActivityReport(running, usage, service.outcomes.report(key)))

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


def is_private(service: Service) -> bool:
    """Return whether strangers cannot reach the server, or are allowed to change it."""
    config = service.config
    return service.keys is not None or not config.allow_public or config.open_admin


def check_private(service: Service) -> None:
    """Refuse what would let strangers see and end each other's requests.

    Raises:
        ApiError: 403 on a public server without keys.
    """
    if not is_private(service):
        raise ApiError(
            403,
            "a public server without API keys keeps this route closed; require keys "
            "(--api-keys), or start it with --open-admin",
            code="not_permitted",
        )


def check_admin(http_request: Request) -> None:
    """Refuse a client without a key that may change the served models.

    Raises:
        ApiError: 403 for every other key, and for none.
    """
    key = context_of(http_request).key
    if key is None or not key.admin:
        raise ApiError(
            403,
            "only a key with admin = true may change the served models",
            code="not_permitted",
        )
