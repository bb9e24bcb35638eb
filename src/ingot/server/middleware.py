"""Authentication and rate limits of every request, and its record once it is over."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ingot.server.access.api_keys import Key
from ingot.server.access.request_context import RequestContext, open_context
from ingot.server.engine.service import Service
from ingot.server.http.errors import ApiError, unexpected_error
from ingot.server.http.logs import FIELDS
from ingot.server.page.files import page_files

_REFUSED_KEY_S = 0.1  # so that a client that shows wrong keys waits most of the time
_log = logging.getLogger("ingot.server.requests")
_OPEN_PATHS = frozenset({"/health"}) | page_files().keys()
# Not logged: what monitoring and the page poll, and the page's files, one request for each.
_QUIET_PATHS = frozenset(
    {"/health", "/ready", "/metrics", "/admin/activity"}
    | {path for path in page_files() if path.startswith("/page/")}
)


class AuthMiddleware:
    """ASGI middleware around the whole application.

    Where there are keys, every route requires one but ``/health`` and the page's own
    files, which ask the user for it. When a request is over, it is counted, logged and
    traced.

    Args:
        app: The application.
        service: The server's parts.
    """

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or refuse it."""
        context = open_context(scope)
        named = [(b"x-request-id", context.id.encode())]
        if context.session is not None:
            named.append((b"x-session-id", context.session.encode()))

        async def send_noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                context.status = message["status"]
                message["headers"] = [*message.get("headers", ()), *named]
            await send(message)

        try:
            with context.held:
                try:
                    self._check(scope, context)
                except ApiError as error:
                    context.note_error(error)
                    if error.status == 401:
                        await asyncio.sleep(_REFUSED_KEY_S)
                    await error.response()(scope, receive, send_noting)
                else:
                    await self._app(scope, receive, send_noting)
        except Exception:
            if not context.status:
                await unexpected_error().response()(scope, receive, send_noting)
            raise  # uvicorn logs it, and closes the connection if the answer is incomplete
        finally:
            self._record(context)

    def _check(self, scope: Scope, context: RequestContext) -> None:
        """Check the key and its limits; requests to open paths need none."""
        headers: Iterable[tuple[bytes, bytes]] = scope["headers"]
        sent = dict(headers)
        keys = self._service.keys
        if keys is None or context.path in _OPEN_PATHS:
            return
        context.key = self._key(sent.get(b"authorization", b""))
        context.shares = self._service.admission.shares
        context.held.enter_context(context.shares.open(context.key.name))
        if context.method == "POST":
            keys.admit(context.key)

    def _key(self, authorization: bytes) -> Key:
        scheme, _, presented = authorization.decode("latin-1").strip().partition(" ")
        keys = self._service.keys
        found = keys.find(presented.strip()) if keys and scheme.lower() == "bearer" else None
        if found is None:
            problem = "is not accepted" if authorization else "is missing"
            raise ApiError(
                401,
                f"the API key {problem}; send Authorization: Bearer KEY",
                code="invalid_api_key",
                headers={"www-authenticate": "Bearer"},
            )
        return found

    def _record(self, context: RequestContext) -> None:
        """Log, count and trace a request that is over."""
        context.finished_s = context.elapsed_s
        self._service.metrics.observe(context)
        self._service.activity.count(context)
        self._service.costs.charge(context)
        self._service.outcomes.refused(context)
        if context.refused_tokens and context.key and self._service.keys:
            self._service.keys.charge(context.key, context.refused_tokens)
        if self._service.tracer is not None:
            self._service.tracer.record(context)
        if self._service.config.log_requests and context.path not in _QUIET_PATHS:
            _log.info("request", extra={FIELDS: context.log_fields()})
