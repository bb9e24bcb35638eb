"""``/v1/batches``: begin, list, read and cancel batches; each key has its own."""

from __future__ import annotations

import time

from starlette.requests import Request
from starlette.responses import Response

from ingot.server.access.request_context import context_of
from ingot.server.batches.records import BatchRecord, window_s
from ingot.server.batches.runner import Batches
from ingot.server.batches.upload import full_disk_answered
from ingot.server.engine.service import Service
from ingot.server.http.errors import ApiError
from ingot.server.http.router import Router
from ingot.server.routes.health import json_response
from ingot.server.routes.paging import page_of
from ingot.server.routes.request_body import read_query, read_request
from ingot.server.schemas.batches import (
    Batch,
    BatchError,
    BatchErrors,
    BatchesQuery,
    BatchList,
    BatchRequest,
    RequestCounts,
)
from ingot.server.schemas.identifiers import new_id


def add_batches(router: Router, service: Service) -> None:
    """Add the routes of batches, where the server keeps any."""
    batches = service.batches
    if batches is None:
        return

    @router.post("/v1/batches", Batch, body=BatchRequest)
    async def create_batch(http_request: Request) -> Response:
        """Answer each line of a file, a request of its own, when nobody waits for the machine."""
        request = await read_request(http_request, BatchRequest, service)
        record = _record(request, context_of(http_request).key_name, batches)
        with full_disk_answered(batches.folder):
            await batches.create(record)
        return json_response(_described(record, batches))

    @router.get("/v1/batches", BatchList, query=BatchesQuery)
    async def list_batches(request: Request) -> Response:
        """List the key's batches, newest first."""
        query = read_query(request, BatchesQuery)
        own = batches.store.all_of(context_of(request).key_name)
        page = page_of(own[::-1], query.after, query.limit)
        listed = [_described(one, batches) for one in page.items]
        return json_response(BatchList(listed, page.first, page.last, page.has_more))

    @router.get("/v1/batches/{batch_id}", Batch)
    async def batch_by_id(request: Request) -> Response:
        """Describe a batch."""
        return json_response(_described(_find(request, batches), batches))

    @router.post("/v1/batches/{batch_id}/cancel", Batch)
    async def cancel_batch(request: Request) -> Response:
        """Cancel a batch; what has been answered is kept. It changes nothing once it has ended."""
        with full_disk_answered(batches.folder):
            record = await batches.cancel(_find(request, batches))
        return json_response(_described(record, batches))


def _record(request: BatchRequest, owner: str, batches: Batches) -> BatchRecord:
    """Return the record of a new batch.

    Raises:
        ApiError: 400 or 404.
    """
    seconds = window_s(request.completion_window)
    if seconds is None:
        raise _wrong("completion_window", 'is not a time such as "24h", of at most 30 days')
    file = batches.files.find(owner, request.input_file_id)
    if file is None:
        raise ApiError(
            404,
            f"there is no file {request.input_file_id!r}",
            param="input_file_id",
            code="not_found",
        )
    if file.purpose != "batch":
        raise _wrong("input_file_id", 'names a file that was not uploaded with purpose "batch"')
    now = int(time.time())
    lifetime = request.output_expires_after
    return BatchRecord(
        id=new_id("batch_"),
        owner=owner,
        endpoint=request.endpoint,
        input_file_id=file.id,
        completion_window=request.completion_window,
        output_lifetime_s=lifetime.seconds if lifetime else None,
        metadata=request.metadata,
        created_at=now,
        expires_at=now + seconds,
    )


def _find(request: Request, batches: Batches) -> BatchRecord:
    """Return the batch that a path names.

    Raises:
        ApiError: 404 where the key has none of this id.
    """
    batch_id = request.path_params["batch_id"]
    found = batches.store.find(context_of(request).key_name, batch_id)
    if found is None:
        raise ApiError(404, f"there is no batch {batch_id[:80]!r}", code="not_found")
    return found


def _described(record: BatchRecord, batches: Batches) -> Batch:
    ended = {record.status: record.ended_at}
    errors = [BatchError(**error.model_dump()) for error in record.errors]
    return Batch(
        id=record.id,
        endpoint=record.endpoint,
        errors=BatchErrors(errors) if errors else None,
        input_file_id=record.input_file_id,
        completion_window=record.completion_window,
        status=record.status,
        # Announced once it can be read.
        output_file_id=record.output_file_id if record.ended else None,
        error_file_id=record.error_file_id if record.ended else None,
        created_at=record.created_at,
        in_progress_at=record.in_progress_at,
        expires_at=record.expires_at,
        finalizing_at=record.finalizing_at,
        completed_at=ended.get("completed"),
        failed_at=ended.get("failed"),
        expired_at=ended.get("expired"),
        cancelling_at=record.cancelling_at,
        cancelled_at=ended.get("cancelled"),
        request_counts=RequestCounts(record.total, *batches.counts(record)),
        metadata=record.metadata,
    )


def _wrong(name: str, problem: str) -> ApiError:
    return ApiError(400, f"{name} {problem}", param=name, code="invalid_value")
