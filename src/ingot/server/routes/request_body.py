"""Request bodies: read within limits of size and time, checked, and their errors named."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Collection
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect, Request

from ingot.errors import TOO_MANY, invalid_field
from ingot.inference import RequestOptions
from ingot.server.access.request_context import RequestContext, context_of
from ingot.server.config import ServerConfig
from ingot.server.engine.model_registry import ServedModel
from ingot.server.engine.service import Service
from ingot.server.http.errors import ApiError
from ingot.server.routes.request_objective import objective_of, refuse_early
from ingot.server.schemas.common import GenerationFields, ModelRequest, SchedulingFields

_Body = TypeVar("_Body", bound=BaseModel)
_ModelBody = TypeVar("_ModelBody", bound=ModelRequest)
_LONGEST_REQUEST_S = 86_400.0
"""The largest ``Timeout``."""
_NOTHING_ASKED = SchedulingFields()
_UNPACED_BYTES = 65_536  # of each body; most are no longer
_UNION_TAGS = frozenset({"text", "texts", "ids", "lists"})  # pydantic adds them to error paths


async def open_request(
    http_request: Request, kind: type[_ModelBody], service: Service
) -> tuple[RequestContext, _ModelBody, ServedModel]:
    """Admit a request that generates; return its record, its checked body and its model.

    Raises:
        ApiError: 429 if too many are open, 404 if there is no such model, or as
            ``read_request``.
    """
    context = context_of(http_request)
    # Before the body is read, so that a refusal is cheap.
    context.held.enter_context(service.admission.request(context.key_name))
    body = await _checked_body(http_request, service)
    if issubclass(kind, SchedulingFields):
        refuse_early(body, context, service)
    request = _parse(body, kind)
    if service.hold is not None and context.background_s is None:
        context.held.enter_context(service.hold.held())
    return context, request, await use_model(service, context, request.model)


async def use_model(service: Service, context: RequestContext, name: str) -> ServedModel:
    """Return the model of this name, kept open until the request is over; woken if it sleeps.

    A request of a batch wakes it only once no client's request has been open for a while.

    Raises:
        ApiError: 404 where there is none, 503 where it does not wake.
    """
    began = context.elapsed_s
    asleep = service.models.find(name).asleep
    if asleep and context.background_s is not None and service.hold is not None:
        await service.hold.until_quiet()
    model = await service.sleeper.awake(name, service.config.request_timeout_s)
    context.wake_s = context.elapsed_s - began if asleep else None
    context.held.enter_context(model.used())
    context.model = model.name
    return model


async def read_request(request: Request, kind: type[_Body], service: Service) -> _Body:
    """Return the checked body of ``request``.

    Raises:
        ApiError: 400, 408, 413, 415 or 429, naming what is wrong.
    """
    return _parse(await _checked_body(request, service), kind)


async def _checked_body(request: Request, service: Service) -> bytes:
    """Return a body that is JSON by its header, and within the limits."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        # Also refuses other sites' pages: a browser sends JSON across sites only after a preflight.
        raise ApiError(415, "the body must be sent with Content-Type: application/json")
    body = await _read_body(request, service, context_of(request))
    check_entries(body, service.config)
    return body


def _parse(body: bytes, kind: type[_Body]) -> _Body:
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        raise _describe(error, kind.model_fields) from error


def read_query(request: Request, kind: type[_Body]) -> _Body:
    """Return the checked query of ``request``; names that end in ``[]`` may come repeatedly.

    Raises:
        ApiError: 400, naming what is wrong.
    """
    given: dict[str, str | list[str]] = {
        name: request.query_params.getlist(name) if name.endswith("[]") else value
        for name, value in request.query_params.items()
    }
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        raise _describe(error, kind.model_fields) from error


def check_together(
    request: GenerationFields, config: ServerConfig, prompts: int, candidates: int
) -> None:
    """Refuse fields that are valid alone but not together.

    Args:
        request: The body.
        config: Limits.
        prompts: Number of its prompts.
        candidates: Number of answers generated for each.

    Raises:
        ApiError: 400.
    """
    if request.stream_options is not None and not request.stream:
        raise ApiError(
            400,
            "stream_options only goes with stream=true; leave it out",
            param="stream_options",
            code="invalid_value",
        )
    if request.prompt_logprobs is not None and request.stream:
        raise ApiError(
            400,
            "prompt_logprobs does not go with stream=true; leave one out",
            param="prompt_logprobs",
            code="invalid_value",
        )
    if (count := prompts * candidates) > config.max_sequences:
        raise ApiError(
            400,
            f"{count} answers are requested (prompts times n or best_of), at most "
            f"{config.max_sequences} go in one request",
            param="prompt" if prompts > config.max_sequences else "n",
            code="invalid_value",
        )


def request_options(
    context: RequestContext,
    config: ServerConfig,
    user: str | None,
    asked: SchedulingFields = _NOTHING_ASKED,
) -> RequestOptions:
    """Return how the engine schedules a request; ``user`` is the client's own end user.

    Call it after ``use_model``: objectives depend on the model.

    Cached prefixes are shared within one key alone, so that timing reveals nothing about
    the prompts of other keys.
    """
    context.user = user
    limit = config.request_timeout_s
    objective = objective_of(context, config, asked.objective)
    if context.background_s is not None:
        objective = None  # a batch takes what others leave
        limit = min(context.background_s, _LONGEST_REQUEST_S)
    return RequestOptions(
        timeout_s=min(asked.timeout or limit, limit),
        priority=asked.priority or 0,
        cache_salt=_salt(context.key_name, asked.cache_salt or ""),
        tenant=context.key_name,
        user=user or "",
        tenant_priority=context.key.priority if context.key else 0,
        background=context.background_s is not None,
        objective=objective,
        late_allowed=asked.late == "allow",
    )


def _salt(key_name: str, salt: str) -> str:
    """Return what requests must share to share prefixes; empty without key and salt."""
    return f"{key_name}/{salt}" if key_name or salt else ""


async def _read_body(request: Request, service: Service, context: RequestContext) -> bytes:
    """Read a body within the limits of size, time and rate."""
    config, body = service.config, bytearray()
    hold = context.held.enter_context(service.admission.body(context.key_name))
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > config.max_body_bytes:
        raise _too_large(config)
    try:
        async with asyncio.timeout(config.body_timeout_s):
            async for piece in request.stream():
                body += piece
                if len(body) > config.max_body_bytes:
                    raise _too_large(config)
                hold(len(piece))
                if len(body) > _UNPACED_BYTES:
                    await asyncio.sleep(service.admission.body_wait_s(len(piece), context.key_name))
    except TimeoutError as error:
        raise ApiError(
            408,
            f"the body did not arrive within {config.body_timeout_s:g} s",
            code="body_timeout",
            headers={"connection": "close"},
        ) from error
    except ClientDisconnect as error:
        raise ApiError(400, "the client left before its body was complete") from error
    return bytes(body)


def check_entries(body: bytes, config: ServerConfig) -> None:
    """Refuse JSON of so many values that parsing it would hold up the event loop.

    Parsing takes 0.1 to 0.2 µs for each of what is counted, whatever the schema: a list of ids
    has a comma for each, an object also quotation marks, and brackets cost a Python object.
    """
    entries = body.count(b",") + body.count(b'"') + 4 * (body.count(b"{") + body.count(b"["))
    if entries > config.max_body_entries:
        raise ApiError(
            413,
            f"the body holds too many values (about {entries}, at most "
            f"{config.max_body_entries}); send fewer prompts, messages or token ids",
            code="body_too_large",
        )


_CODES = {"missing": "missing_field", "extra_forbidden": "unknown_field"}


def _too_large(config: ServerConfig) -> ApiError:
    return ApiError(
        413,
        f"the body is larger than {config.max_body_bytes} bytes; send fewer or shorter prompts",
        code="body_too_large",
        headers={"connection": "close"},
    )


def _describe(error: ValidationError, fields: Collection[str]) -> ApiError:
    """Turn pydantic's error into an answer that names the field."""
    first = invalid_field(error, known=fields, hidden=_UNION_TAGS)
    if first.kind == "json_invalid":
        return ApiError(400, f"the body {first.problem}", code="invalid_json")
    if first.kind == TOO_MANY:
        return ApiError(400, f"the body {first.problem}; {first.fix}", code="invalid_value")
    if not first.path:
        return ApiError(400, "the body must be a JSON object", code="invalid_type")
    # OpenAI's clients show the top-level field; an unknown one is named in full.
    unknown = first.kind == "extra_forbidden"
    param = first.path if unknown else re.split(r"[.\[]", first.path, maxsplit=1)[0]
    code = _CODES.get(first.kind, "invalid_value")
    return ApiError(400, f"{first.problem}; {first.fix}", param=param, code=code)
