"""What the page's room Learn reads: the lesson's words, and what a lesson measured here.

The lesson itself trains, so the server does not import it: its words are read as
a file, and its figures are those that ``ingot lesson`` wrote down last.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import orjson
from fastapi import FastAPI, Response

from ingot.server.http.errors import ApiError

RECORD_VERSION = 1
_CONTENT = Path(__file__).parents[2] / "lesson" / "content.toml"
_MOST_BYTES = 1 << 20


def record_path() -> Path:
    """Return the file that ``ingot lesson`` writes its figures to, by the XDG base directories."""
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(home) / "ingot" / "lesson.json"


def add_lesson(app: FastAPI) -> None:
    """Add ``/lesson/content`` and ``/lesson/record``."""
    content = orjson.dumps(tomllib.loads(_CONTENT.read_text(encoding="utf-8")))

    @app.get("/lesson/content", include_in_schema=False)
    async def lesson_content() -> Response:
        """Return the lesson's words and questions."""
        return Response(content, media_type="application/json")

    @app.get("/lesson/record", include_in_schema=False)
    def lesson_record() -> Response:
        """Return what the last lesson on this machine measured."""
        return Response(orjson.dumps(read_record(record_path())), media_type="application/json")


def read_record(path: Path) -> object:
    """Read a record; whatever is not one of this version is refused.

    Raises:
        ApiError: there is none, or it cannot be used.
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
