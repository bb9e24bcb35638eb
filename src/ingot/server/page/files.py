"""The page at ``/``, its files, and what its rooms read beside the API."""

from __future__ import annotations

import gzip
import html
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from fastapi import FastAPI, Request, Response
from starlette.responses import FileResponse

from ingot.server.engine.service import Service
from ingot.server.page.ingot_facts import add_ingot_facts
from ingot.server.page.lesson_routes import add_lesson

_FOLDER = Path(__file__).parent / "web"
_INDEX, _FRAME = "index.html", "plot_frame.html"
_PLOTLY = "/page/plotly.js"
_MEDIA_TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}
# Nothing from elsewhere, no inline script or style, and no string is ever turned into HTML.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; img-src 'self' data:; frame-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
# Plotly writes styles and HTML. So it runs in a frame that has no origin: it can reach neither
# the page around it nor the server, and learns nothing but the numbers it is sent.
_FRAME_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'; "
    "sandbox allow-scripts allow-downloads"
)
HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}


def page_files() -> dict[str, Path]:
    """Return the page's files by their addresses; none of them holds a secret."""
    files = {"/": _FOLDER / _INDEX}
    for path in sorted(_FOLDER.rglob("*")):
        if path.suffix in _MEDIA_TYPES and path.name != _INDEX:
            files[f"/page/{path.relative_to(_FOLDER).as_posix()}"] = path
    if plotly := _plotly():
        files[_PLOTLY] = plotly
    return files


def add_page(app: FastAPI, service: Service) -> None:
    """Add the page's files, and the addresses that only its rooms need."""
    add_page_files(app, {})
    add_ingot_facts(app, service)
    add_lesson(app)


def add_page_files(app: FastAPI, marks: Mapping[str, str]) -> None:
    """Add the page's files, served from memory, but for plotly's, which is large and rarely read.

    Args:
        app: The application.
        marks: What the page is told of where it is, as ``data-`` attributes of its body.
    """
    files = page_files()
    if _PLOTLY in files:
        marks = {**marks, "plotly": ""}
    said = "".join(f' data-{name}="{html.escape(value)}"' for name, value in marks.items())
    for address, path in files.items():
        if address == _PLOTLY:
            _add_file(app, address, path, None)
            continue
        content = path.read_bytes()
        if address == "/":
            content = content.replace(b"<body>", f"<body{said}>".encode(), 1)
        _add_file(app, address, path, content)


def _plotly() -> Path | None:
    """Return plotly's script, of the package by that name; None where it is not installed."""
    spec = find_spec("plotly")
    for folder in (spec and spec.submodule_search_locations) or ():
        path = Path(folder) / "package_data" / "plotly.min.js"
        if path.is_file():
            return path
    return None


def _add_file(app: FastAPI, address: str, path: Path, content: bytes | None) -> None:
    media_type, headers = _MEDIA_TYPES[path.suffix], HEADERS | {"vary": "accept-encoding"}
    if path.name == _FRAME:
        headers["content-security-policy"] = _FRAME_POLICY
    packed = gzip.compress(content or b"", mtime=0)

    async def file(request: Request) -> Response:
        if content is None:
            return FileResponse(path, headers=headers, media_type=media_type)
        if "gzip" in request.headers.get("accept-encoding", ""):
            encoded = headers | {"content-encoding": "gzip"}
            return Response(packed, headers=encoded, media_type=media_type)
        return Response(content, headers=headers, media_type=media_type)

    app.add_api_route(address, file, methods=["GET", "HEAD"], include_in_schema=False)
