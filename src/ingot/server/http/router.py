"""Routing table: handlers by path and method, under the server's own host names."""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ingot.server.http.errors import ApiError

STREAMED = ("application/json", "text/event-stream")
"""Media types of a route whose answer may be streamed."""

Handler = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True)
class Route:
    """A handler, its address, and what the OpenAPI document says of it."""

    method: str
    path: str
    """The whole path; ``{name}`` in it matches any non-empty text, slashes included."""
    handler: Handler
    answer: Any = None
    """Type of the body of a successful answer; None: not described."""
    body: type | None = None
    """Pydantic model of the request's body."""
    query: type | None = None
    """Pydantic model of the request's query."""
    media_types: tuple[str, ...] = ("application/json",)
    """Of a successful answer; the first one is described by ``answer``."""
    other_answers: Mapping[int, Any] = field(default_factory=dict)
    """Types of answers with further statuses."""
    may_refuse: bool = True
    """Whether it gives errors besides ``other_answers``."""
    described: bool = True
    """Whether the OpenAPI document holds it."""


@dataclass(frozen=True)
class _Pattern:
    """Paths that hold a name, and their handlers by method."""

    prefix: str
    name: str
    suffix: str
    handlers: dict[str, Handler] = field(default_factory=dict)


class Router:
    """ASGI application that finds a request's handler by path, then by method.

    A request must name the server by an IP address or one of ``hosts``. A web page of
    another site cannot do that: it would have to reach the server through its own name,
    after making that name resolve to the server's address (DNS rebinding).

    Args:
        hosts: Names that the server answers to, in lower case.
        note_error: Told of a request that is answered with an error.
    """

    def __init__(
        self,
        hosts: Iterable[str] = ("localhost",),
        note_error: Callable[[Request, ApiError], None] = lambda *_: None,
    ) -> None:
        self.routes: list[Route] = []
        self._note_error = note_error
        self._hosts = frozenset(hosts)
        self._exact: dict[str, dict[str, Handler]] = {}
        self._patterns: list[_Pattern] = []

    def get(self, path: str, answer: Any = None, **described: Any) -> Callable[[Handler], Handler]:
        """Add the decorated handler for GET; keywords are fields of ``Route``."""
        return self._decorator("GET", path, answer, described)

    def post(self, path: str, answer: Any = None, **described: Any) -> Callable[[Handler], Handler]:
        """Add the decorated handler for POST; keywords are fields of ``Route``."""
        return self._decorator("POST", path, answer, described)

    def delete(
        self, path: str, answer: Any = None, **described: Any
    ) -> Callable[[Handler], Handler]:
        """Add the decorated handler for DELETE; keywords are fields of ``Route``."""
        return self._decorator("DELETE", path, answer, described)

    def add(self, route: Route) -> None:
        """Add a route."""
        self.routes.append(route)
        if "{" in route.path:
            handlers = self._pattern(route.path).handlers
        else:
            handlers = self._exact.setdefault(route.path, {})
        handlers[route.method] = route.handler

    def _pattern(self, path: str) -> _Pattern:
        prefix, _, rest = path.partition("{")
        name, _, suffix = rest.partition("}")
        pattern = _Pattern(prefix, name, suffix)
        for known in self._patterns:
            if (known.prefix, known.suffix) == (prefix, suffix):
                return known
        self._patterns.append(pattern)
        # The longest suffix first, so that "/{id}/items" is not taken for an id.
        self._patterns.sort(key=lambda each: -len(each.suffix))
        return pattern

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; an ``ApiError`` becomes the answer it describes.

        A client that left before its answer began gets none.
        """
        request = Request(scope, receive, send)
        try:
            response = await self._find(request)(request)
            await response(scope, receive, send)
        except ApiError as error:
            self._note_error(request, error)
            await error.response()(scope, receive, send)
        except ClientDisconnect:
            pass

    def _find(self, request: Request) -> Handler:
        """Return the handler of a request.

        Raises:
            ApiError: 404 or 405, or 421 for a host name that is not the server's.
        """
        _check_host(host_of(request), self._hosts)
        path, method = request.scope["path"], request.scope["method"]
        handlers = self._exact.get(path)
        if handlers is None:
            handlers = self._match_pattern(path, request.scope)
        if method in handlers:
            return handlers[method]
        if handlers:
            raise ApiError(
                405,
                f"{method} is not allowed at {path!r}; use {' or '.join(handlers)}",
                code="method_not_allowed",
                headers={"allow": ", ".join(handlers)},
            )
        raise ApiError(
            404,
            f"there is nothing at {path!r}; the API is under /v1, see /openapi.json",
            code="not_found",
        )

    def _match_pattern(self, path: str, scope: Scope) -> dict[str, Handler]:
        for pattern in self._patterns:
            value = path.removeprefix(pattern.prefix).removesuffix(pattern.suffix)
            if value and path == pattern.prefix + value + pattern.suffix:
                scope["path_params"] = {pattern.name: value}
                return pattern.handlers
        return {}

    def _decorator(
        self, method: str, path: str, answer: Any, described: dict[str, Any]
    ) -> Callable[[Handler], Handler]:
        def add(handler: Handler) -> Handler:
            self.add(Route(method, path, handler, answer, **described))
            return handler

        return add


def host_of(request: Request) -> str | None:
    """Return the Host header of a request; None for one of HTTP/1.0 without.

    Raises:
        ApiError: 400 where there is not one (RFC 9112, section 3.2).
    """
    named = request.headers.getlist("host")
    if len(named) > 1 or not (named or request.scope["http_version"] == "1.0"):
        raise ApiError(400, "send exactly one Host header", code="invalid_host")
    return named[0] if named else None


def _check_host(header: str | None, hosts: frozenset[str]) -> None:
    """Refuse a request that names the server by a name that is not its own.

    HTTP/1.0 need not name it, and no browser speaks HTTP/1.0.
    """
    if header is None:
        return
    if header.startswith("["):
        name = header[1:].partition("]")[0].lower()
    else:
        name = header.partition(":")[0].lower().rstrip(".")
    if name in hosts:
        return
    try:
        ipaddress.ip_address(name)
    except ValueError:
        raise ApiError(
            421,
            f"this server does not go by the name {name[:80]!r}; use its address, or allow the "
            "name in server.allowed_hosts",
            code="unknown_host",
        ) from None
