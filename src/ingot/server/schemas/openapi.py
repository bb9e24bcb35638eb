"""What the OpenAPI document says of the routes that read their bodies themselves."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from ingot.server.http.errors import ErrorBody

_REF = "#/components/schemas/{model}"
_ERRORS: dict[int, str] = {
    400: "The request is wrong; `param` names the field.",
    401: "No key was shown, or one that is not accepted.",
    403: "The key may not do this.",
    404: "There is no such model.",
    409: "The request was cancelled, or this model cannot do what it asks for.",
    408: "The body came too slowly.",
    413: "The body is too large.",
    415: "The body is not sent as JSON.",
    421: "The server does not go by the name in `Host`.",
    429: "Too much is asked at once; see `Retry-After`.",
    500: "The engine failed.",
    503: "The engine has stopped, or the server is stopping.",
    504: "The answer took too long.",
}


def body_of(app: FastAPI, kind: type[BaseModel]) -> dict[str, Any]:
    """Return what a route's description holds of the body that it reads by itself."""
    if not hasattr(app.state, "request_kinds"):
        app.state.request_kinds = []
    app.state.request_kinds.append(kind)
    schema = {"$ref": _REF.format(model=kind.__name__)}
    return {
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
    }


def responses_of(*, streamed: bool = False) -> dict[int | str, dict[str, Any]]:
    """Return the answers that any route may give besides its own."""
    errors: dict[int | str, dict[str, Any]] = {
        status: {"model": ErrorBody, "description": text} for status, text in _ERRORS.items()
    }
    return errors | ({200: {"content": {"text/event-stream": {}}}} if streamed else {})


def describe(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document."""
    if app.openapi_schema is None:
        document = get_openapi(title=app.title, version=app.version, routes=app.routes)
        kinds: list[tuple[type[BaseModel], JsonSchemaMode]] = [
            (kind, "validation") for kind in app.state.request_kinds
        ]
        _, definitions = models_json_schema(kinds, ref_template=_REF)
        document["components"]["schemas"] |= definitions["$defs"]
        app.openapi_schema = document
    return app.openapi_schema
