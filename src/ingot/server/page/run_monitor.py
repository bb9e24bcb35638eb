"""The page of a running training run: its metrics as they grow, and its controls.

The monitor knows a run as a file of JSON lines and a set of named actions, nothing more, so that
the server does not import training.
"""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Self

import uvicorn
from fastapi import FastAPI, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse

from ingot.errors import IngotError, ServeError
from ingot.server.config import ServerConfig
from ingot.server.http.hosts import host_name, is_address
from ingot.server.http.listener import listen, url_of
from ingot.server.page.files import HEADERS, add_page_files

_START_TIMEOUT_S, _STOP_TIMEOUT_S = 30.0, 10.0
_POLL_S = 0.02
_MAX_PART_BYTES = 4 << 20  # of the metrics in one response
_SIZE_HEADER = "x-metrics-size"

Action = Callable[[], str]
"""Does something to the run and returns a sentence that says what it did."""


class RunMonitor:
    """An HTTP server in a thread, on this machine only, for as long as the context lasts.

    Args:
        name: The run's name.
        metrics: The run's ``metrics.jsonl``; it need not exist yet.
        actions: What can be asked of the run, by name.
        paused: Returns whether the run is paused.
        port: Port; 0 takes a free one.

    Raises:
        ServeError: the port is not available.
    """

    def __init__(
        self,
        name: str,
        metrics: Path,
        actions: Mapping[str, Action],
        paused: Callable[[], bool],
        *,
        port: int = 0,
    ) -> None:
        self._listener = listen(ServerConfig(port=port))
        self.url = url_of(self._listener)
        """The page's address."""
        app = _create_app(name, metrics, actions, paused)
        config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", ws="none")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run,
            args=([self._listener],),
            name="ingot-run-monitor",
            daemon=True,
        )

    def __enter__(self) -> Self:
        self._thread.start()
        waited = threading.Event()  # never set: uvicorn has no signal for its start, so we poll
        for _ in range(int(_START_TIMEOUT_S / _POLL_S)):
            if self._server.started:
                return self
            if not self._thread.is_alive():
                break
            waited.wait(_POLL_S)
        raise ServeError("did not start", where=self.url)

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        # A browser keeps its connection open; waiting for it would hold up the end of the run.
        self._server.force_exit = True
        self._thread.join(_STOP_TIMEOUT_S)


def _create_app(
    name: str, metrics: Path, actions: Mapping[str, Action], paused: Callable[[], bool]
) -> FastAPI:
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    add_page_files(app, {"run": name})
    app.middleware("http")(_refuse_other_sites)
    _add_metrics(app, metrics)

    @app.get("/run")
    async def run() -> dict[str, Any]:
        return {"name": name, "paused": paused(), "actions": sorted(actions)}

    @app.post("/run/{action}")
    async def perform(action: str) -> Response:
        if action not in actions:
            known = ", ".join(sorted(actions))
            return _refusal(404, f"unknown action {action[:40]!r}; choose one of: {known}")
        try:
            return JSONResponse({"message": await run_in_threadpool(actions[action])})
        except IngotError as error:
            return _refusal(409, str(error))

    return app


async def _refuse_other_sites(
    request: Request, call_next: Callable[[Request], Awaitable[Response]]
) -> Response:
    """Refuse requests that a page of another site could have sent."""
    # By DNS rebinding another site's name can lead here, but a browser then sends that name.
    host = host_name(request.headers.get("host", ""))
    if host != "localhost" and not is_address(host):
        return _refusal(421, "this page does not answer to that host name; open it by its address")
    # Browsers ask before they send this type to another site (CORS), and get no consent here.
    if request.method == "POST" and request.headers.get("content-type") != "application/json":
        return _refusal(415, "the content type must be application/json")
    return await call_next(request)


def _add_metrics(app: FastAPI, metrics: Path) -> None:
    @app.get("/run/metrics.jsonl")
    def part(start: int = 0) -> Response:
        """Return the metrics from a byte offset on, and their whole size in a header."""
        size = metrics.stat().st_size if metrics.is_file() else 0
        content = b""
        if 0 <= start < size:
            with metrics.open("rb") as file:
                file.seek(start)
                content = file.read(_MAX_PART_BYTES)
        headers = HEADERS | {_SIZE_HEADER: str(size)}
        return Response(content, media_type="application/x-ndjson", headers=headers)


def _refusal(status: int, message: str) -> JSONResponse:
    return JSONResponse({"error": {"message": message}}, status)
