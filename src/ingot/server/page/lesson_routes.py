"""Routes of the page's view Learn: the lesson's text and its measured figures.

The lesson trains a model, so the server does not import it. Both share the text in
``ingot.lesson_content``; the figures are those that ``ingot lesson`` wrote last.
"""

from __future__ import annotations

import asyncio
import gzip
from pathlib import Path

import orjson
from starlette.requests import Request
from starlette.responses import Response

from ingot.lesson_content import RECORD_VERSION, read_content_tables, record_path
from ingot.server.http.errors import ApiError
from ingot.server.http.router import Router

_MOST_BYTES = 1 << 20


def add_lesson(router: Router) -> None:
    """Add ``/lesson/content`` and ``/lesson/record``."""
    content = orjson.dumps(read_content_tables())
    compressed = gzip.compress(content, mtime=0)

    @router.get("/lesson/content", described=False)
    async def lesson_content(request: Request) -> Response:
        """Return the lesson's text and questions."""
        headers = {"vary": "accept-encoding"}
        if "gzip" in request.headers.get("accept-encoding", ""):
            headers["content-encoding"] = "gzip"
            return Response(compressed, headers=headers, media_type="application/json")
        return Response(content, headers=headers, media_type="application/json")

    @router.get("/lesson/record", described=False)
    async def lesson_record(_: Request) -> Response:
        """Return what the last lesson on this machine measured."""
        record = await asyncio.to_thread(read_record, record_path())
        return Response(orjson.dumps(record), media_type="application/json")


def read_record(path: Path) -> object:
    """Read a record of this version.

    Raises:
        ApiError: 404; there is no record, or it is damaged or of another version.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise ApiError(
            404, "no lesson was run on this machine yet; run: ingot lesson", code="no_record"
        ) from error
    try:
        if len(data) > _MOST_BYTES:
            raise ValueError
        record = orjson.loads(data)
        if not isinstance(record, dict) or record.get("version") != RECORD_VERSION:
            raise ValueError
    except ValueError as error:
        raise ApiError(
            404, "the last lesson's record cannot be read; run: ingot lesson", code="no_record"
        ) from error
    return record
