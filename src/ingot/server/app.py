"""The HTTP application: the routes and what lies around them."""

from __future__ import annotations

import functools
from dataclasses import replace

import orjson
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from ingot.server.access.admission import Admission
from ingot.server.access.api_keys import Key
from ingot.server.access.request_context import RequestContext, context_of
from ingot.server.batches.figures import BatchFigures
from ingot.server.batches.in_process import InProcess
from ingot.server.batches.work import KeyRevokedError
from ingot.server.engine.metrics import Metrics
from ingot.server.engine.response_store import ResponseStore
from ingot.server.engine.service import Service
from ingot.server.http.base_path import under
from ingot.server.http.router import Router
from ingot.server.middleware import AuthMiddleware
from ingot.server.page.files import add_page
from ingot.server.routes.admin import add_activity, add_admin
from ingot.server.routes.batch import add_batch
from ingot.server.routes.batches import add_batches
from ingot.server.routes.chat import add_chat
from ingot.server.routes.completions import add_completions
from ingot.server.routes.embeddings import add_embeddings
from ingot.server.routes.files import add_files
from ingot.server.routes.health import add_models, add_operations
from ingot.server.routes.loading import add_loading
from ingot.server.routes.render import add_render
from ingot.server.routes.responses import add_responses
from ingot.server.routes.stored_responses import add_stored_responses
from ingot.server.routes.tokenize import add_tokens
from ingot.server.schemas.openapi import describe

_GROUPS = (
    add_models,
    add_completions,
    add_chat,
    add_render,
    add_responses,
    add_stored_responses,
    add_embeddings,
    add_files,
    add_batches,
    add_tokens,
    add_operations,
    add_admin,
    add_loading,
    add_activity,
    add_batch,
    add_page,
)


def create_app(service: Service) -> ASGIApp:
    """Return the ASGI application.

    Args:
        service: The server's parts: models, limits, keys.
    """
    config = service.config
    guarded = under(config.root_path, AuthMiddleware(create_router(service), service))
    if not config.cors_origins:
        return guarded
    # Outside the authentication: a browser's preflight request shows no key.
    return CORSMiddleware(
        guarded,
        allow_origins=config.cors_origins,
        allow_methods=["GET", "POST", "DELETE"],
        # Every header: clients send their own, such as x-stainless-os of OpenAI's in JavaScript.
        # Cookies and browsers' own credentials play no part, so none of them grants anything.
        allow_headers=["*"],
        expose_headers=["x-request-id", "x-session-id", "retry-after"],
    )


def create_router(service: Service) -> Router:
    """Return the routing table with every route of the server."""
    config = service.config
    hosts = {"localhost", config.host.lower(), *map(str.lower, config.allowed_hosts)}
    router = Router(hosts, lambda request, error: context_of(request).note_error(error))
    for add in _GROUPS:
        add(router, service)
    document = functools.cache(lambda: orjson.dumps(describe(router.routes, config.root_path)))

    @router.get("/openapi.json", described=False)
    async def openapi(_: Request) -> Response:
        return Response(document(), media_type="application/json")

    return router


def start_batches(service: Service) -> None:
    """Resume batches, where there are any. Their requests are answered by the same routes.

    Their requests take no place of a client's, use up no limit per minute, store no responses,
    and are in no figure of clients' latency; they count in each key's usage and cost.
    """
    if service.batches is None:
        return
    config = service.config
    admission = Admission(config)
    own = replace(
        service,
        admission=admission,
        metrics=Metrics(service.models, admission, service.costs, service.outcomes, lambda: 0),
        responses=ResponseStore(config.model_copy(update={"response_store_bytes": 0})),
        keys=None,
    )

    def record(context: RequestContext) -> None:
        service.activity.count(context)
        service.costs.charge(context)
        if service.tracer is not None:
            service.tracer.record(context)

    def find_key(name: str) -> Key | None:
        key = service.keys.named(name) if service.keys is not None else None
        if key is None and name and service.keys is not None:
            raise KeyRevokedError
        return key

    service.metrics.register(BatchFigures(service.batches))
    service.batches.start(InProcess(create_router(own), record), find_key)
