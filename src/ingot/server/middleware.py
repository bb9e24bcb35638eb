"""What every request passes first and last: name, key, allowance; then its record."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ingot.server.access.api_keys import Key
from ingot.server.access.request_context import RequestContext, open_context
from ingot.server.engine.service import Service
from ingot.server.http.errors import ApiError
from ingot.server.http.hosts import host_name, is_address
from ingot.server.http.logs import FIELDS
from ingot.server.page.files import page_files

_log = logging.getLogger("ingot.server.routes.request_body")
_OPEN_PATHS = frozenset({"/health"}) | page_files().keys()
_QUIET_PATHS = frozenset({"/health", "/ready", "/metrics"})


class AuthMiddleware:
    """ASGI middleware around the whole application.

    A request's own name for the server must be one that the server goes by, so that
    a web page cannot reach it through a name that it makes point here (DNS
    rebinding). Where there are keys, one must be shown on every route but
    ``/health`` and the page's own files, which ask for one themselves.

    Args:
        app: The application.
        service: The server's parts.
    """

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service
        config = service.config
        self._hosts = {"localhost", config.host.lower(), *map(str.lower, config.allowed_hosts)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it here."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        context = open_context(scope)
        request_id = (b"x-request-id", context.id.encode())

        async def send_noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                context.status = message["status"]
                message["headers"] = [*message.get("headers", ()), request_id]
            await send(message)

        try:
            with context.held:
                try:
                    self._check(scope, context)
                except ApiError as error:
                    await error.response()(scope, receive, send_noting)
                else:
                    await self._app(scope, receive, send_noting)
        finally:
            self._record(context)

    def _check(self, scope: Scope, context: RequestContext) -> None:
        """Refuse a request that may not be made."""
        headers: Iterable[tuple[bytes, bytes]] = scope["headers"]
        sent = dict(headers)
        self._check_host(sent.get(b"host", b""))
        keys = self._service.keys
        if keys is None or context.path in _OPEN_PATHS:
            return
        context.key = self._key(sent.get(b"authorization", b""))
        if context.method == "POST":
            keys.admit(context.key)

    def _check_host(self, sent: bytes) -> None:
        host = host_name(sent.decode("latin-1"))
        if host in self._hosts or is_address(host):
            return
        raise ApiError(
            421,
            f"this server does not go by the name {host[:80]!r}; use its address, or start it "
            "with that name allowed",
            code="unknown_host",
        )

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
        self._service.tracer.record(context)
        if self._service.config.log_requests and context.path not in _QUIET_PATHS:
            _log.info("request", extra={FIELDS: context.log_fields()})
