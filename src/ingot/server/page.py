"""The page at ``/``, its files, and what its rooms read beside the API."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI, Response

from ingot.server.ingot_facts import add_ingot_facts
from ingot.server.lesson_routes import add_lesson
from ingot.server.service import Service

_FOLDER = Path(__file__).parent / "web"
_INDEX = "index.html"
MEDIA_TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}
HEADERS = {
    # Nothing from elsewhere, no inline script or style, and no string is ever turned into HTML.
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}


def page_files() -> dict[str, Path]:
    """Return the page's files by their addresses; none of them holds a secret."""
    files = {"/": _FOLDER / _INDEX}
    for path in sorted(_FOLDER.rglob("*")):
        if path.suffix in MEDIA_TYPES and path.name != _INDEX:
            files[f"/page/{path.relative_to(_FOLDER).as_posix()}"] = path
    return files


def add_page(app: FastAPI, service: Service) -> None:
    """Add the page's files, served from memory, and the addresses that only its rooms need."""
    for address, path in page_files().items():
        _add_file(app, address, path.read_bytes(), MEDIA_TYPES[path.suffix])
    add_ingot_facts(app, service)
    add_lesson(app)


def _add_file(app: FastAPI, address: str, content: bytes, media_type: str) -> None:
    async def file() -> Response:
        return Response(content, headers=HEADERS, media_type=media_type)

    app.add_api_route(address, file, methods=["GET", "HEAD"], include_in_schema=False)
