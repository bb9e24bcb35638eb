"""OpenAPI document of the routes, with schemas from their types."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator
from http import HTTPStatus
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import JsonSchemaMode

from ingot.server.http.errors import ErrorBody
from ingot.server.http.router import Route

_REF = "#/components/schemas/{model}"
_JSON = "application/json"
_ERRORS: dict[int, str] = {
    400: "The request is wrong; `param` names the field.",
    401: "No key was shown, or one that is not accepted.",
    403: "The key may not do this.",
    404: "There is no such model.",
    408: "The body came too slowly.",
    409: "The request was cancelled, or this model cannot do what it asks for.",
    413: "The body is too large.",
    415: "The body is not sent as JSON.",
    421: "The server does not go by the name in `Host`.",
    429: "Too much is asked at once; see `Retry-After`.",
    500: "The engine failed.",
    503: "The engine has stopped, or the server is stopping.",
    507: "The disk is full.",
    504: "The answer took too long.",
}
_Schemas = dict[tuple[str, JsonSchemaMode], Any]


def describe(routes: Iterable[Route], base_path: str = "") -> dict[str, Any]:
    """Return the OpenAPI document of the routes that are to be described.

    Args:
        routes: All routes.
        base_path: Path under which a proxy offers them.
    """
    described = [route for route in routes if route.described]
    schemas, definitions = _schemas(described)
    paths: dict[str, dict[str, Any]] = {}
    for route in described:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Ingot", "version": "1"},
        **({"servers": [{"url": base_path}]} if base_path else {}),
        "paths": paths,
        "components": {"schemas": definitions},
    }


def _schemas(routes: list[Route]) -> tuple[_Schemas, dict[str, Any]]:
    """Return a reference for each type that the routes name, and the schemas referred to."""
    inputs: dict[tuple[str, JsonSchemaMode], TypeAdapter[Any]] = {
        _written(ErrorBody): TypeAdapter(ErrorBody)
    }
    for route in routes:
        if route.body is not None:
            inputs[route.body.__name__, "validation"] = TypeAdapter(route.body)
        for answer in (route.answer, *route.other_answers.values()):
            if answer is not None:
                inputs[_written(answer)] = TypeAdapter(answer)
    named = [(name, mode, adapter) for (name, mode), adapter in inputs.items()]
    references, definitions = TypeAdapter.json_schemas(named, ref_template=_REF)
    return dict(references), definitions["$defs"]


def _written(kind: Any) -> tuple[str, JsonSchemaMode]:
    return kind.__name__, "serialization"


def _operation(route: Route, schemas: _Schemas) -> dict[str, Any]:
    """Return the description of one route, in the words of its handler's docstring."""
    name = str(getattr(route.handler, "__name__", "handler"))
    operation: dict[str, Any] = {
        "summary": name.replace("_", " ").title(),
        "description": inspect.getdoc(route.handler) or "",
        "operationId": re.sub(r"\W", "_", f"{name}{route.path}_{route.method.lower()}"),
        "responses": _responses(route, schemas),
    }
    if parameters := [*_path_parameters(route), *_query_parameters(route)]:
        operation["parameters"] = parameters
    if route.body is not None:
        schema = schemas[route.body.__name__, "validation"]
        operation["requestBody"] = {"required": True, "content": {_JSON: {"schema": schema}}}
    return operation


def _path_parameters(route: Route) -> Iterator[dict[str, Any]]:
    if name := re.search(r"{(\w+)}", route.path):
        located = {"name": name[1], "in": "path", "required": True}
        yield located | {"schema": {"type": "string"}}


def _query_parameters(route: Route) -> Iterator[dict[str, Any]]:
    if route.query is None:
        return
    for name, schema in TypeAdapter(route.query).json_schema()["properties"].items():
        yield {"name": name, "in": "query", "required": False, "schema": schema}


def _responses(route: Route, schemas: _Schemas) -> dict[str, Any]:
    """Return what a route answers, by status."""
    first, *others = route.media_types
    schema = {} if route.answer is None else {"schema": schemas[_written(route.answer)]}
    found: dict[int, Any] = {
        200: {
            "description": "Successful response.",
            "content": {first: schema} | {other: {} for other in others},
        }
    }
    if route.may_refuse:
        error = {_JSON: {"schema": schemas[_written(ErrorBody)]}}
        for status, text in _ERRORS.items():
            found[status] = {"description": text, "content": error}
    for status, kind in route.other_answers.items():
        content = {_JSON: {"schema": schemas[_written(kind)]}}
        found[status] = {"description": HTTPStatus(status).phrase, "content": content}
    return {str(status): answer for status, answer in found.items()}
