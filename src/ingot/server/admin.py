"""Routes that change or prove what is served."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from fastapi import FastAPI, Request, Response
from pydantic import Field

from ingot.server.documents import body_of, responses_of
from ingot.server.errors import ApiError
from ingot.server.fields import Strict
from ingot.server.operations import json_response
from ingot.server.protocol import Model
from ingot.server.requests import read_request
from ingot.server.service import Service
from ingot.server.visit import visit_of


class ExchangeRequest(Strict):
    """The body of ``POST /admin/ingots``."""

    model: Annotated[str, Field(min_length=1, max_length=200)]
    """The name it is to have; a model of that name is replaced."""
    path: Annotated[str, Field(min_length=1, max_length=4096)]
    """The ingot's folder, on the server's machine."""


class VerifyRequest(Strict):
    """The body of ``POST /admin/verify``."""

    model: str


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
        manifest = model.ingot.manifest
        expected = {name: record.sha256 for name, record in manifest.tensors.items()}
        return json_response(
            Verified(model.name, manifest.digest, tensors, verified=tensors == expected)
        )


def _check_admin(http_request: Request) -> None:
    key = visit_of(http_request).key
    if key is None or not key.admin:
        raise ApiError(
            403,
            "ingots are exchanged only by the holder of a key with admin = true",
            code="not_permitted",
        )
