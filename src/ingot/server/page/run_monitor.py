"""The page of a running training run: its metrics as they grow, and its controls.

The monitor knows a run as a file of JSON lines and a set of named actions, nothing more, so that
the server does not import training.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self

import uvicorn
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ingot.errors import IngotError, ServeError
from ingot.server.config import ServerConfig
from ingot.server.http.errors import ApiError
from ingot.server.http.listener import listen, url_of
from ingot.server.http.router import Router
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
        actions: What the page's buttons do, by name.
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
        address = ServerConfig(port=port)
        self._listener = listen(address)
        self.url = url_of(self._listener, address)
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
) -> Router:
    router = Router()  # only addresses and "localhost": a run is watched from its own machine
    add_page_files(router, {"run": name})

    @router.get("/run")
    async def run(_: Request) -> Response:
        return JSONResponse({"name": name, "paused": paused(), "actions": sorted(actions)})

    @router.get("/run/metrics.jsonl")
    async def part(request: Request) -> Response:
        """Return the metrics from a byte offset on, and their whole size in a header."""
        try:
            start = int(request.query_params.get("start", "0"))
        except ValueError:
            raise ApiError(422, "start must be a whole number", param="start") from None
        content, size = await asyncio.to_thread(_read_from, metrics, start)
        headers = HEADERS | {_SIZE_HEADER: str(size)}
        return Response(content, media_type="application/x-ndjson", headers=headers)

    @router.post("/run/{action}")
    async def perform(request: Request) -> Response:
        # Browsers ask before they send this type to another site (CORS), and get no consent here.
        if request.headers.get("content-type") != "application/json":
            raise ApiError(415, "the content type must be application/json")
        action = request.path_params["action"]
        if action not in actions:
            known = ", ".join(sorted(actions))
            raise ApiError(404, f"unknown action {action[:40]!r}; choose one of: {known}")
        try:
            return JSONResponse({"message": await asyncio.to_thread(actions[action])})
        except IngotError as error:
            raise ApiError(409, str(error)) from error

    return router


def _read_from(path: Path, start: int) -> tuple[bytes, int]:
    """Return a part of a file from byte ``start`` on, and the size of the whole file."""
    size = path.stat().st_size if path.is_file() else 0
    if not 0 <= start < size:
        return b"", size
    with path.open("rb") as file:
        file.seek(start)
        return file.read(_MAX_PART_BYTES), size
