"""Objective of a request, and its refusal before it is parsed."""

from __future__ import annotations

import re

from ingot.errors import UsageError
from ingot.inference import NotInTime, Objective
from ingot.inference.request.objective import parse_objective
from ingot.server.access.request_context import RequestContext
from ingot.server.config import ServerConfig
from ingot.server.engine.model_registry import Models, ServedModel
from ingot.server.engine.service import Service
from ingot.server.http.errors import ApiError, from_ingot_error

_MODEL = re.compile(rb'(?<!\\)"model"\s*:\s*"([^"\\]{1,200})"')
"""The field; a name with an escape, which few have, is left to the parser."""


def objective_of(
    context: RequestContext, config: ServerConfig, asked: str | None
) -> Objective | None:
    """Return the objective of a request: its own, its key's, or its model's.

    Raises:
        ApiError: 400 if its own is malformed, or tighter than the one that the operator set: it
            would slow down the others.
    """
    limit = _stated(context, config, context.model or "")
    if asked is None:
        return limit
    if asked == "none":
        return None
    try:
        objective = parse_objective(asked)
    except UsageError as error:
        raise from_ingot_error(error) from error
    if limit is not None and objective.is_tighter_than(limit):
        raise ApiError(
            400,
            f"objective {objective} asks for more than {limit}, which is set here; loosen it",
            param="objective",
            code="invalid_value",
        )
    return objective


def refuse_early(body: bytes, context: RequestContext, service: Service) -> None:
    """Refuse a request before it is parsed, if even the shortest would miss the objective.

    Under overload most requests are refused. To parse one takes as long as everything else
    together, and that time is the engine's. What names its own objective, or may be late, is
    parsed; so is a body of which it is not plain which model it asks for.

    Raises:
        ApiError: 429.
    """
    if context.background_s is not None or not _any_stated(context, service.config):
        return
    if b'"objective"' in body or b'"late"' in body:
        return
    model = _named_model(body, service.models)
    if model is None or model.asleep:
        return
    objective = _stated(context, service.config, model.name)
    if objective is None:
        return
    try:
        model.loop.check_in_time(objective, context.elapsed_s + model.lag_s)
    except NotInTime as error:
        context.model = model.name
        raise from_ingot_error(error) from error


def _named_model(body: bytes, models: Models) -> ServedModel | None:
    """Return the served model that a body names, without parsing it; None where that is not plain.

    A quotation mark within a text is escaped in JSON, so ``"model"`` is the name of a field, or a
    text of that one word. If it stands there once, before a text, no other field can be the model.
    """
    if body.count(b'"model"') == 1 and (found := _MODEL.search(body)):
        return models.all.get(found[1].decode(errors="replace"))
    return next(iter(models.all.values())) if len(models.all) == 1 else None


def _any_stated(context: RequestContext, config: ServerConfig) -> bool:
    """Return whether the operator set an objective at all: else a long body is not searched."""
    own = context.key.objective if context.key else None
    return bool(own or config.objective or config.model_objectives)


def _stated(context: RequestContext, config: ServerConfig, model: str) -> Objective | None:
    """Return the objective that the operator set for a key, or else for a model."""
    own = context.key.objective if context.key else None
    if own is None:
        return config.objective_for(model)
    return parse_objective(own) if own else None
