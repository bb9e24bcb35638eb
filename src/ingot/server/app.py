"""The HTTP application: which address does what."""

from __future__ import annotations

from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema
from starlette.exceptions import HTTPException

from ingot.artifact import Ingot
from ingot.inference import EngineLoop
from ingot.server.completions import CompletionResponse
from ingot.server.config import ServerConfig
from ingot.server.errors import (
    ApiError,
    ErrorBody,
    answer_api_error,
    answer_http_exception,
    answer_unexpected,
)
from ingot.server.page import add_page
from ingot.server.prompts import encode_prompts
from ingot.server.protocol import Completion, CompletionRequest, Health, Model, ModelList
from ingot.server.requests import read_request

_REF = "#/components/schemas/{model}"
_BODY = {
    "content": {"application/json": {"schema": {"$ref": _REF.format(model="CompletionRequest")}}}
}
_ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"model": ErrorBody, "description": "The request is wrong; `param` names the field."},
    404: {"model": ErrorBody, "description": "There is no such model."},
    408: {"model": ErrorBody, "description": "The body came too slowly."},
    413: {"model": ErrorBody, "description": "The body is too large."},
    415: {"model": ErrorBody, "description": "The body is not sent as JSON."},
    429: {"model": ErrorBody, "description": "Too many requests wait; see `Retry-After`."},
    500: {"model": ErrorBody, "description": "The engine failed."},
    503: {"model": ErrorBody, "description": "The engine has stopped."},
    504: {"model": ErrorBody, "description": "The answer took too long."},
}


def create_app(ingot: Ingot, loop: EngineLoop, config: ServerConfig) -> FastAPI:
    """Return the ASGI application that serves one ingot.

    Args:
        ingot: The open model; stays the caller's to close.
        loop: The engine that runs it; stays the caller's to close.
        config: Names and limits.
    """
    app = FastAPI(title="Ingot", version="1", docs_url=None, redoc_url=None)
    app.add_exception_handler(ApiError, answer_api_error)
    app.add_exception_handler(HTTPException, answer_http_exception)
    app.add_exception_handler(Exception, answer_unexpected)
    name = config.model_name or ingot.path.absolute().name.removesuffix(".ingot")
    add_models(app, ingot, name)
    add_completions(app, ingot, loop, config, name)
    add_health(app, ingot, loop)
    add_page(app)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]  # FastAPI's way to extend it
    return app


def add_models(app: FastAPI, ingot: Ingot, name: str) -> None:
    """Add the addresses that say which models there are."""
    created = int((ingot.path / "ingot.json").stat().st_mtime)
    model = Model(name, created, ingot.digest, ingot.config.max_position_embeddings)

    @app.get("/v1/models", response_model=ModelList)
    async def models() -> Response:
        """List the models."""
        return _json(ModelList([model]))

    @app.get(
        "/v1/models/{model_id:path}", response_model=Model, responses={404: {"model": ErrorBody}}
    )
    async def model_by_id(model_id: str) -> Response:
        """Describe one model."""
        _check_model(model_id, name)
        return _json(model)


def add_completions(
    app: FastAPI, ingot: Ingot, loop: EngineLoop, config: ServerConfig, name: str
) -> None:
    """Add the address that continues prompts."""

    @app.post(
        "/v1/completions",
        response_model=Completion,
        responses=_ERRORS | {200: {"content": {"text/event-stream": {}}}},
        openapi_extra={"requestBody": {"required": True} | _BODY},
    )
    async def completions(http_request: Request) -> Response:
        """Continue each prompt; streamed as server-sent events where `stream` is true."""
        request = await read_request(http_request, CompletionRequest, config)
        _check_model(request.model, name)
        _check_together(request, config)
        return CompletionResponse(
            request,
            await encode_prompts(request.prompts, ingot),
            model=name,
            ingot=ingot,
            engine=loop,
            timeout_s=config.request_timeout_s,
        )


def add_health(app: FastAPI, ingot: Ingot, loop: EngineLoop) -> None:
    """Add the address that says whether the engine works."""

    @app.get("/health", response_model=Health, responses={503: {"model": Health}})
    async def health() -> Response:
        """Say whether the engine works."""
        failed = loop.failed is not None
        status = Health("failed" if failed else "ok", ingot.digest)
        return _json(status, 503 if failed else 200)


def _check_model(asked: str, name: str) -> None:
    """Refuse a model that is not served."""
    if asked != name:
        raise ApiError(
            404,
            f"there is no model {asked[:80]!r} here; the model is called {name!r}",
            param="model",
            code="model_not_found",
        )


def _check_together(request: CompletionRequest, config: ServerConfig) -> None:
    """Refuse fields that are right alone but not together."""
    if request.stream_options is not None and not request.stream:
        raise ApiError(
            400,
            "stream_options only goes with stream=true; leave it out",
            param="stream_options",
            code="invalid_value",
        )
    count = len(request.prompts) * request.choices_per_prompt
    if count > config.max_sequences:
        raise ApiError(
            400,
            f"{count} answers are asked for (prompts times n), at most {config.max_sequences} "
            "go in one request",
            param="n",
            code="invalid_value",
        )


def _json(value: object, status: int = 200) -> Response:
    """Return a value as JSON."""
    return Response(orjson.dumps(value), status, media_type="application/json")


def _openapi(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document, with the body that this server reads by itself."""
    if app.openapi_schema is None:
        document = get_openapi(title=app.title, version=app.version, routes=app.routes)
        _, request = models_json_schema([(CompletionRequest, "validation")], ref_template=_REF)
        document["components"]["schemas"] |= request["$defs"]
        app.openapi_schema = document
    return app.openapi_schema
