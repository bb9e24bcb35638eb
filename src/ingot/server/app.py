"""The HTTP application: which address does what."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware

from ingot.server.engine.service import Service
from ingot.server.fast_path import FastPathMiddleware
from ingot.server.http.errors import (
    ApiError,
    answer_api_error,
    answer_http_exception,
    answer_unexpected,
)
from ingot.server.middleware import AuthMiddleware
from ingot.server.page.files import add_page
from ingot.server.routes.admin import add_activity, add_admin
from ingot.server.routes.chat import add_chat
from ingot.server.routes.completions import add_completions
from ingot.server.routes.embeddings import add_embeddings
from ingot.server.routes.health import add_models, add_operations
from ingot.server.routes.responses import add_responses
from ingot.server.routes.tokenize import add_tokens
from ingot.server.schemas.openapi import describe

_ROUTES = (
    add_models,
    add_completions,
    add_chat,
    add_responses,
    add_embeddings,
    add_tokens,
    add_operations,
    add_admin,
    add_activity,
)


def create_app(service: Service) -> FastAPI:
    """Return the ASGI application.

    Args:
        service: The server's parts: models, limits, keys.
    """
    app = FastAPI(title="Ingot", version="1", docs_url=None, redoc_url=None)
    app.add_exception_handler(ApiError, answer_api_error)
    app.add_exception_handler(HTTPException, answer_http_exception)
    app.add_exception_handler(Exception, answer_unexpected)
    for add in _ROUTES:
        add(app, service)
    add_page(app, service)
    app.openapi = lambda: describe(app)  # type: ignore[method-assign]  # FastAPI's way to extend it
    app.add_middleware(FastPathMiddleware, routes=app)
    app.add_middleware(AuthMiddleware, service=service)
    if origins := service.config.cors_origins:
        # Outside the gate: a browser's question beforehand shows no key.
        app.add_middleware(
            CORSMiddleware,
            allow_origins=origins,
            allow_methods=["GET", "POST"],
            allow_headers=["authorization", "content-type", "x-request-id"],
            expose_headers=["x-request-id", "retry-after"],
        )
    return app
