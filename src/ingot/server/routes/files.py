"""``/v1/files``: upload, list, read and delete files; each key has its own."""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ingot.errors import ServeError
from ingot.files import open_regular
from ingot.server.access.request_context import context_of
from ingot.server.batches.file_store import FileStore
from ingot.server.batches.records import FileRecord
from ingot.server.batches.runner import Batches
from ingot.server.engine.service import Service
from ingot.server.http.errors import ApiError
from ingot.server.http.router import Router
from ingot.server.routes.health import json_response
from ingot.server.routes.paging import page_of
from ingot.server.routes.request_body import read_query
from ingot.server.routes.uploads import receive_file
from ingot.server.schemas.files import DeletedFile, File, FileList, FilesQuery

_PIECE = 1 << 18


def add_files(router: Router, service: Service) -> None:
    """Add the routes of files, where the server keeps any."""
    batches = service.batches
    if batches is None:
        return

    @router.post("/v1/files", File)
    async def upload_file(request: Request) -> Response:
        """Store the file of a form, `file`, with the `purpose` "batch"."""
        return json_response(_described(await receive_file(request, service, batches.files)))

    @router.get("/v1/files", FileList, query=FilesQuery)
    async def files(request: Request) -> Response:
        """List the key's files."""
        query = read_query(request, FilesQuery)
        own = batches.files.all_of(context_of(request).key_name)
        wanted = [one for one in own if query.purpose in (None, one.purpose)]
        ordered = wanted if query.order == "asc" else wanted[::-1]
        page = page_of(ordered, query.after, query.limit)
        listed = [_described(one) for one in page.items]
        return json_response(FileList(listed, page.first, page.last, page.has_more))

    @router.get("/v1/files/{file_id}", File)
    async def file_by_id(request: Request) -> Response:
        """Describe a file."""
        return json_response(_described(_find(request, batches)))

    @router.get("/v1/files/{file_id}/content", media_types=("application/octet-stream",))
    async def file_content(request: Request) -> Response:
        """Return a file's bytes."""
        record = _find(request, batches)
        return _Content(batches.files, record)

    @router.delete("/v1/files/{file_id}", DeletedFile)
    async def delete_file(request: Request) -> Response:
        """Delete a file; one that a batch reads is kept until the batch has ended."""
        record = _find(request, batches)
        user = batches.store.uses(record.id)
        if user is not None:
            raise ApiError(
                409, f"batch {user.id} reads this file; cancel it first", code="file_in_use"
            )
        await batches.files.remove(record)
        return json_response(DeletedFile(record.id))


def _find(request: Request, batches: Batches) -> FileRecord:
    """Return the file that a path names.

    Raises:
        ApiError: 404 where the key has none of this id.
    """
    file_id = request.path_params["file_id"]
    found = batches.files.find(context_of(request).key_name, file_id)
    if found is None:
        raise ApiError(404, f"there is no file {file_id[:80]!r}", code="not_found")
    return found


def _described(record: FileRecord) -> File:
    return File(
        record.id,
        record.size,
        record.created_at,
        record.filename,
        record.purpose,
        record.expires_at,
    )


class _Content(Response):
    """Sends a file as it reads it; one that is deleted meanwhile is sent all the same."""

    def __init__(self, store: FileStore, record: FileRecord) -> None:
        super().__init__()
        self._store = store
        self._record = record

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer over ASGI.

        Raises:
            ApiError: 500 if the file cannot be read.
        """
        del scope, receive
        with self._store.reading(self._record):
            await self._send(send)

    async def _send(self, send: Send) -> None:
        path = self._store.content_path(self._record.id)
        try:
            file = await asyncio.to_thread(open_regular, path, ServeError)
        except ServeError as error:
            raise ApiError(500, "the file cannot be read", code="file_lost") from error
        with file:
            headers = {
                "content-type": "application/octet-stream",
                "content-length": str(self._record.size),
            }
            raw = [(name.encode(), value.encode()) for name, value in headers.items()]
            await send({"type": "http.response.start", "status": 200, "headers": raw})
            while piece := await asyncio.to_thread(file.read, _PIECE):
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body"})
