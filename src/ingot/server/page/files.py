"""Routes that serve the page's static files at ``/`` and ``/page``."""

from __future__ import annotations

import gzip
import html
from collections.abc import Mapping
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from ingot.server.engine.service import Service
from ingot.server.http.router import Route, Router
from ingot.server.page.ingot_facts import add_ingot_facts
from ingot.server.page.lesson_routes import add_lesson
from ingot.server.page.phase_routes import add_phases

_FOLDER = Path(__file__).parent / "web"
_INDEX = "index.html"
_MEDIA_TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}
# No other origins, no inline scripts or styles, and no string is ever parsed as HTML: text that a
# model writes cannot become code.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; img-src 'self' data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}


def page_files() -> dict[str, Path]:
    """Return the page's files by their URL paths; none of them holds a secret."""
    files = {"/": _FOLDER / _INDEX}
    for path in sorted(_FOLDER.rglob("*")):
        if path.suffix in _MEDIA_TYPES and path.name != _INDEX:
            files[f"/page/{path.relative_to(_FOLDER).as_posix()}"] = path
    return files


def add_page(router: Router, service: Service) -> None:
    """Add the page's files and the routes that only the page uses."""
    add_page_files(router, {})
    add_ingot_facts(router, service)
    add_lesson(router)
    add_phases(router, service)


def add_page_files(router: Router, data: Mapping[str, str]) -> None:
    """Add the page's files, served from memory.

    Args:
        router: Receives the routes.
        data: Values for the page's scripts, written as ``data-`` attributes of the body.
    """
    attributes = "".join(f' data-{name}="{html.escape(value)}"' for name, value in data.items())
    for url_path, path in page_files().items():
        content = path.read_bytes()
        if url_path == "/":
            content = content.replace(b"<body>", f"<body{attributes}>".encode(), 1)
        _add_file(router, url_path, _MEDIA_TYPES[path.suffix], content)


def _add_file(router: Router, url_path: str, media_type: str, content: bytes) -> None:
    headers = HEADERS | {"vary": "accept-encoding"}
    # mtime=0: the same bytes from every process, whenever it started.
    compressed = gzip.compress(content, mtime=0)

    async def file(request: Request) -> Response:
        if "gzip" in request.headers.get("accept-encoding", ""):
            encoded = headers | {"content-encoding": "gzip"}
            return Response(compressed, headers=encoded, media_type=media_type)
        return Response(content, headers=headers, media_type=media_type)

    for method in ("GET", "HEAD"):
        router.add(Route(method, url_path, file, described=False))
