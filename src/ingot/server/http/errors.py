"""Errors in the form of OpenAI's API: ``{"error": {"message", "type", "param", "code"}}``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

import orjson
from starlette.responses import Response

from ingot.errors import IngotError, ServeError, UsageError
from ingot.inference import NotInTime, QueueFull


@dataclass(frozen=True)
class ErrorDetail:
    """Description of an error."""

    message: str
    type: str
    """"invalid_request_error", "rate_limit_error" or "server_error"."""
    param: str | None
    """The field of the request that is wrong."""
    code: str | None
    """Machine-readable kind of error."""


@dataclass(frozen=True)
class ErrorBody:
    """Body of every error answer."""

    error: ErrorDetail

    def to_json(self) -> bytes:
        """Return it as JSON."""
        return orjson.dumps(self)


class ApiError(Exception):
    """Error that ends a request with an HTTP status.

    Args:
        status: The HTTP status.
        message: What was wrong, where, and what to do.
        param: The field of the request that is wrong.
        code: Machine-readable kind of error.
        headers: Sent with the answer.
        reason: What metrics call it; by default the code.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
        reason: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason or code or "other"
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
    """Translate an error that the engine raised for a request."""
    if isinstance(error, QueueFull):
        return ApiError(429, str(error), code="queue_full", headers={"retry-after": "1"})
    if isinstance(error, NotInTime):
        return ApiError(
            429,
            str(error),
            param="objective",
            code="objective_not_met",
            headers={
                "retry-after": str(math.ceil(error.retry_s)),
                "retry-after-ms": str(math.ceil(1e3 * error.retry_s)),
            },
            reason=f"objective_{error.reason}",
        )
    if isinstance(error, UsageError):
        return ApiError(400, str(error), param=error.where, code="invalid_value")
    status = 503 if isinstance(error, ServeError) else 500
    return ApiError(status, str(error), code="engine_failed")


def unexpected_error() -> ApiError:
    """Return the error for a fault of the server's own, without any detail of it."""
    return ApiError(
        500, "the server failed on this request; its log says why", code="internal_error"
    )
