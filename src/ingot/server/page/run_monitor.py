"""The page beside a run that is going: its record as it grows, and a few buttons.

It knows a run as a file of JSON lines and a set of named actions, nothing more.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
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
_MOST_BYTES = 4 << 20  # of the record in one answer
_SIZE = "x-record-size"

Action = Callable[[], str]
"""Does something to the run and says in a sentence what."""


class WatchServer:
    """Serves the page from a thread while the block runs, on this machine alone.

    Args:
        name: What the run is called.
        record: The run's ``metrics.jsonl``; it need not exist yet.
        actions: What can be asked of the run, by name.
        paused: Tells whether the run waits.
        port: Port; 0 takes a free one.

    Raises:
        ServeError: the port cannot be had.
    """

    def __init__(
        self,
        name: str,
        record: Path,
        actions: Mapping[str, Action],
        paused: Callable[[], bool],
        *,
        port: int = 0,
    ) -> None:
        self._listener = listen(ServerConfig(port=port))
        self.url = url_of(self._listener)
        """Where it answers."""
        app = _create_app(name, record, actions, paused)
        config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", ws="none")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, args=([self._listener],), name="ingot-watch", daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        waited = threading.Event()
        for _ in range(int(_START_TIMEOUT_S / 0.02)):
            if self._server.started:
                return self
            if not self._thread.is_alive():
                break
            waited.wait(0.02)
        raise ServeError("did not start", where=self.url)

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._server.force_exit = True
        self._thread.join(_STOP_TIMEOUT_S)


def _create_app(
    name: str, record: Path, actions: Mapping[str, Action], paused: Callable[[], bool]
) -> FastAPI:
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    add_page_files(app, {"run": name})
    app.middleware("http")(_only_from_here)
    _add_record(app, record)

    @app.get("/run")
    async def run() -> dict[str, Any]:
        return {"name": name, "paused": paused(), "actions": sorted(actions)}

    @app.post("/run/{action}")
    async def act(action: str) -> Response:
        if action not in actions:
            return _refused(404, f"there is no {action[:40]!r}; there are: {', '.join(actions)}")
        try:
            return JSONResponse({"said": await run_in_threadpool(actions[action])})
        except IngotError as error:
            return _refused(409, str(error))

    return app


async def _only_from_here(request: Request, go_on: Any) -> Response:
    """Refuse what another site's page could have sent."""
    host = host_name(request.headers.get("host", ""))
    if host != "localhost" and not is_address(host):
        return _refused(421, "this page does not go by that name; use its address")
    # A browser asks before it sends this type for another site, and gets no answer here.
    if request.method == "POST" and request.headers.get("content-type") != "application/json":
        return _refused(415, "send application/json")
    answer: Response = await go_on(request)
    return answer


def _add_record(app: FastAPI, record: Path) -> None:
    @app.get("/run/metrics.jsonl")
    def metrics(start: int = 0) -> Response:
        size = record.stat().st_size if record.is_file() else 0
        content = b""
        if 0 <= start < size:
            with record.open("rb") as file:
                file.seek(start)
                content = file.read(_MOST_BYTES)
        headers = HEADERS | {_SIZE: str(size)}
        return Response(content, media_type="application/x-ndjson", headers=headers)


def _refused(status: int, message: str) -> JSONResponse:
    return JSONResponse({"error": {"message": message}}, status)
