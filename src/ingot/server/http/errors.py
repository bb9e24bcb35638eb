"""Errors as OpenAI's API shapes them: ``{"error": {"message", "type", "param", "code"}}``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

import orjson
from fastapi import Request, Response
from starlette.exceptions import HTTPException

from ingot.errors import IngotError, ServeError, UsageError
from ingot.inference import QueueFull


@dataclass(frozen=True)
class ErrorDetail:
    """What went wrong."""

    message: str
    type: str
    """"invalid_request_error", "rate_limit_error" or "server_error"."""
    param: str | None
    """The request's field concerned."""
    code: str | None
    """A word that a program can look for."""


@dataclass(frozen=True)
class ErrorBody:
    """The body of every answer that is an error."""

    error: ErrorDetail

    def to_json(self) -> bytes:
        """Return it as JSON."""
        return orjson.dumps(self)


class ApiError(Exception):
    """A request that ends with an error status.

    Args:
        status: The HTTP status.
        message: What was wrong, where, and what to do.
        param: The request's field concerned.
        code: A word that a program can look for.
        headers: Sent with the answer.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.body = ErrorBody(ErrorDetail(message, _type_of(status), param, code))
        self.headers = dict(headers or {})

    def response(self) -> Response:
        """Return the HTTP answer."""
        return Response(
            self.body.to_json(), self.status, self.headers, media_type="application/json"
        )


def _type_of(status: int) -> str:
    """Return OpenAI's error type for an HTTP status."""
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return "rate_limit_error"
    return "server_error" if status >= 500 else "invalid_request_error"


def from_ingot_error(error: IngotError) -> ApiError:
    """Translate what the engine raised when it was given a request."""
    if isinstance(error, QueueFull):
        return ApiError(429, str(error), code="queue_full", headers={"retry-after": "1"})
    if isinstance(error, UsageError):
        return ApiError(400, str(error), param=error.where, code="invalid_value")
    status = 503 if isinstance(error, ServeError) else 500
    return ApiError(status, str(error), code="engine_failed")


async def answer_api_error(request: Request, error: Exception) -> Response:
    """Exception handler for ``ApiError``."""
    del request
    if not isinstance(error, ApiError):
        raise error
    return error.response()


async def answer_http_exception(request: Request, error: Exception) -> Response:
    """Exception handler for the framework's own errors: unknown routes and methods."""
    if not isinstance(error, HTTPException):
        raise error
    messages = {
        404: f"there is nothing at {request.url.path!r}; the API is under /v1, see /openapi.json",
        405: f"{request.method} is not allowed at {request.url.path!r}",
    }
    codes = {404: "not_found", 405: "method_not_allowed"}
    message = messages.get(error.status_code, str(error.detail))
    code = codes.get(error.status_code)
    return ApiError(error.status_code, message, code=code, headers=error.headers).response()


async def answer_unexpected(request: Request, error: Exception) -> Response:
    """Exception handler for a fault of our own; the framework logs its traceback."""
    del request, error
    return ApiError(
        500, "the server met an error of its own; its log says more", code="internal_error"
    ).response()
