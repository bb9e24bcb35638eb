"""Objective of a request, and its refusal before it is parsed."""

from __future__ import annotations

from ingot.errors import UsageError
from ingot.inference import NotInTime, Objective
from ingot.inference.request.objective import parse_objective
from ingot.server.access.request_context import RequestContext
from ingot.server.config import ServerConfig
from ingot.server.engine.service import Service
from ingot.server.http.errors import ApiError, from_ingot_error


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
    """Refuse a request by its key alone, if even the shortest would miss the objective.

    Under overload most requests are refused. To parse one takes as long as everything else
    together, and that time is the engine's. What names its own objective, or may be late, is
    parsed; so is everything where several models are served.

    Raises:
        ApiError: 429.
    """
    models = service.models.all
    if context.background_s is not None or len(models) != 1:
        return
    if b'"objective"' in body or b'"late"' in body:
        return
    (model,) = models.values()
    objective = _stated(context, service.config, model.name)
    if objective is None or model.asleep:
        return
    try:
        model.loop.check_in_time(objective, context.elapsed_s + model.lag_s)
    except NotInTime as error:
        context.model = model.name
        raise from_ingot_error(error) from error


def _stated(context: RequestContext, config: ServerConfig, model: str) -> Objective | None:
    """Return the objective that the operator set for a key, or else for a model."""
    own = context.key.objective if context.key else None
    if own is None:
        return config.objective_for(model)
    return parse_objective(own) if own else None
