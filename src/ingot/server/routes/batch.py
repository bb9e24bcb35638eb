"""The route ``GET /admin/batch``: each engine's batch, queue and cache between two steps."""

from __future__ import annotations

import asyncio
import dataclasses
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from ingot.errors import IngotError
from ingot.inference import BatchSnapshot, SequenceSnapshot
from ingot.server.access.api_keys import Key
from ingot.server.access.request_context import context_of
from ingot.server.engine.model_registry import ServedModel
from ingot.server.engine.service import Service
from ingot.server.http.errors import ApiError
from ingot.server.http.router import Router
from ingot.server.routes.admin import check_private
from ingot.server.routes.health import json_response

_LONGEST_STEP_S = 30.0
_OTHER = "another key"


@dataclass(frozen=True)
class ModelBatch:
    """The batch of one model's engine."""

    model: str
    steps: int
    """Steps run since the start."""
    last_step_s: float
    """Seconds that the last one took."""
    kv_bytes_per_token: int
    """Keys and values of one token of context, at two bytes per value."""
    batch: BatchSnapshot
    """Who runs, who waits, and who holds the blocks of the key-value cache."""


@dataclass(frozen=True)
class BatchReport:
    """The batches of all models that are awake."""

    models: list[ModelBatch]


def add_batch(router: Router, service: Service) -> None:
    """Add the route that shows what each engine's next step will work on."""

    @router.get("/admin/batch", BatchReport)
    async def batch(http_request: Request) -> Response:
        """Show the sequences that run and wait, and who holds the blocks of the cache.

        A key without `admin` sees the other keys' sequences without their names.
        """
        check_private(service)
        key = context_of(http_request).key
        awake = [model for model in service.models.all.values() if not model.asleep]
        models = [await _batch_of(model, key) for model in awake]
        return json_response(BatchReport(models))


async def _batch_of(model: ServedModel, key: Key | None) -> ModelBatch:
    with model.kept_open():
        try:
            async with asyncio.timeout(_LONGEST_STEP_S):
                snapshot = await asyncio.wrap_future(model.loop.snapshot())
        except TimeoutError as error:
            raise ApiError(
                503,
                f"the step that runs takes more than {_LONGEST_STEP_S:g} s; try again later",
                headers={"retry-after": "5"},
            ) from error
        except IngotError as error:
            raise ApiError(503, str(error)) from error
    stats = model.loop.stats()
    return ModelBatch(
        model.name, stats.steps, stats.last_step_s, model.ingot.config.kv_bytes(),
        _as_seen_by(key, snapshot),
    )  # fmt: skip


def _as_seen_by(key: Key | None, snapshot: BatchSnapshot) -> BatchSnapshot:
    """Return a snapshot in which the names of other keys are left out."""
    if key is None or key.admin:
        return snapshot

    def named(sequences: tuple[SequenceSnapshot, ...]) -> tuple[SequenceSnapshot, ...]:
        return tuple(
            one if one.tenant == key.name else dataclasses.replace(one, tenant=_OTHER)
            for one in sequences
        )

    return dataclasses.replace(
        snapshot, running=named(snapshot.running), waiting=named(snapshot.waiting)
    )
