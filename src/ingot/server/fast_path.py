"""The shortest way to the routes that are asked for most."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import cast

from fastapi import FastAPI, Request, Response
from fastapi.routing import APIRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from ingot.server.http.errors import ApiError

_PATHS = frozenset({"/v1/completions", "/v1/chat/completions", "/v1/responses", "/v1/embeddings"})
_Handler = Callable[[Request], Awaitable[Response]]


class FastPathMiddleware:
    """ASGI middleware that hands a request that generates straight to its handler.

    FastAPI would look for the route, then for dependencies that these handlers do not
    have, and would wrap both ways three times: an eighth of what such a request costs.

    Args:
        app: What answers all other requests.
        routes: The application with the handlers.
    """

    def __init__(self, app: ASGIApp, routes: FastAPI) -> None:
        self._app = app
        self._handlers = {
            route.path: cast("_Handler", route.endpoint)
            for route in routes.routes
            if isinstance(route, APIRoute)
            and route.path in _PATHS
            and "POST" in (route.methods or ())
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request here, or let it through."""
        direct = scope["type"] == "http" and scope["method"] == "POST"
        handler = self._handlers.get(scope["path"]) if direct else None
        if handler is None:
            await self._app(scope, receive, send)
            return
        try:
            response = await handler(Request(scope, receive, send))
            await response(scope, receive, send)
        except ApiError as error:
            await error.response()(scope, receive, send)
