"""Admin routes that change the served models: list, load, replace, quantize, unload."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from ingot.artifact import knows_conversations
from ingot.server.access.request_context import context_of
from ingot.server.engine.model_registry import ServedModel
from ingot.server.engine.service import Service
from ingot.server.http.errors import ApiError
from ingot.server.http.router import Router
from ingot.server.routes.admin import check_admin, check_private, is_private
from ingot.server.routes.health import json_response
from ingot.server.routes.request_body import read_request
from ingot.server.schemas.common import ModelRequest, Strict
from ingot.server.schemas.completions import Model

_MANIFEST = "ingot.json"
_MOST_LISTED = 200


class LoadRequest(Strict):
    """The body of ``POST /admin/ingots``: one of ``path`` and ``ingot``."""

    model: Annotated[str, Field(min_length=1, max_length=200)]
    """The name to serve it by; a model of that name is replaced."""
    path: Annotated[str, Field(min_length=1, max_length=4096, pattern=r"^[^\x00]+$")] | None = None
    """The ingot's folder, on the server's machine."""
    ingot: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$")] | None = None
    """Its name in the folder ``server.ingots_folder``."""


class QuantizeRequest(ModelRequest):
    """The body of ``POST /admin/quantize``."""


class UnloadRequest(ModelRequest):
    """The body of ``POST /admin/unload``."""


@dataclass(frozen=True)
class LoadedModel:
    """A model that is served."""

    id: str
    digest: str
    """Of the ingot."""
    weight_bytes: int
    """Of all tensors, in the ingot's own format."""
    max_model_len: int
    """Longest prompt and answer together, in tokens."""
    trained_context: int
    """Longest context that the model's architecture allows, in tokens."""
    knows_conversations: bool
    """Whether it was trained on conversations; a base model continues text."""
    asleep: bool
    """Whether its memory is released until the next request."""
    wake_s: float | None
    """Seconds that its last wake took, which the next request waits for; null before the first."""


@dataclass(frozen=True)
class StoredIngot:
    """An ingot in the folder ``server.ingots_folder``."""

    name: str
    bytes: int
    """Of its files."""


@dataclass(frozen=True)
class LoadingReport:
    """The models that are served, and what may be done about them."""

    models: list[LoadedModel]
    stored: list[StoredIngot]
    """Those that may be loaded by name, at most 200; none for a key that may not load."""
    may_change: bool
    """Whether this client may load, quantize and unload."""
    has_folder: bool
    """Whether the server has a folder of ingots (``server.ingots_folder``)."""


def add_loading(router: Router, service: Service) -> None:
    """Add the routes that change the served models."""

    @router.get("/admin/models", LoadingReport)
    async def loaded(http_request: Request) -> Response:
        """List the served models, and the ingots that this client may load by name."""
        folder, may = service.config.ingots_folder, _may_change(http_request, service)
        stored = await asyncio.to_thread(_stored, folder) if folder and may else []
        models = [_loaded(model, service) for model in service.models.all.values()]
        return json_response(LoadingReport(models, stored, may, folder is not None))

    @router.post("/admin/ingots", Model, body=LoadRequest)
    async def load(http_request: Request) -> Response:
        """Serve an ingot by a name, in place of the model that had it.

        A path needs a key with `admin`; the name of an ingot in `server.ingots_folder` also goes
        on a private server without keys. Running requests finish on the model that they started
        with.
        """
        _check_change(http_request, service)
        request = await read_request(http_request, LoadRequest, service)
        if request.ingot is None:
            check_admin(http_request)
        model = await service.models.replace(request.model, _path_of(request, service))
        return json_response(model.description)

    @router.post("/admin/quantize", Model, body=QuantizeRequest)
    async def quantize(http_request: Request) -> Response:
        """Serve a copy of a model in int8 beside it, as `NAME:int8`, to compare the two.

        Needs a key with `admin`, or a private server without keys.
        """
        _check_change(http_request, service)
        request = await read_request(http_request, QuantizeRequest, service)
        model = await service.models.quantize(request.model)
        return json_response(model.description)

    @router.post("/admin/unload", Model, body=UnloadRequest)
    async def unload(http_request: Request) -> Response:
        """Serve a model no longer, and release its memory once its last request has ended.

        Needs a key with `admin`, or a private server without keys. The last model stays.
        """
        _check_change(http_request, service)
        request = await read_request(http_request, UnloadRequest, service)
        model = await service.models.unload(request.model)
        return json_response(model.description)


def _check_change(http_request: Request, service: Service) -> None:
    """Refuse a client that may not change the served models."""
    check_private(service)
    if service.keys is not None:
        check_admin(http_request)


def _may_change(http_request: Request, service: Service) -> bool:
    key = context_of(http_request).key
    return is_private(service) and (service.keys is None or (key is not None and key.admin))


def _path_of(request: LoadRequest, service: Service) -> Path:
    """Return the folder of the ingot that a request names.

    Raises:
        ApiError: 400 where it gives both forms or none, or the server has no folder of ingots.
    """
    if (request.path is None) == (request.ingot is None):
        raise ApiError(400, "give path or ingot", param="path", code="invalid_value")
    if request.path is not None:
        return Path(request.path)
    folder = service.config.ingots_folder
    if folder is None or request.ingot is None:
        raise ApiError(
            400,
            "this server has no folder of ingots; give a path, or start it with "
            "--set server.ingots_folder=FOLDER",
            param="ingot",
            code="invalid_value",
        )
    return folder / request.ingot


def _loaded(model: ServedModel, service: Service) -> LoadedModel:
    return LoadedModel(
        model.name,
        model.digest,
        model.ingot.weight_bytes,
        model.loop.max_context,
        model.ingot.config.max_position_embeddings,
        knows_conversations(model.ingot),
        model.asleep,
        service.sleeper.wake_s(model.name),
    )


def _stored(folder: Path) -> list[StoredIngot]:
    """Return the ingots of a folder by name; one that cannot be read is left out."""
    found = []
    try:
        names = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir())
    except OSError:
        return []
    for name in names:
        try:
            files = [entry.stat().st_size for entry in os.scandir(folder / name)]
            if (folder / name / _MANIFEST).is_file():
                found.append(StoredIngot(name, sum(files)))
        except OSError:
            continue
        if len(found) == _MOST_LISTED:
            break
    return found
