"""Running the server: in the foreground until a signal, or in a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Self

import uvicorn
import uvloop

from ingot.artifact import Ingot
from ingot.errors import ServeError
from ingot.inference import EngineLoop
from ingot.server.app import create_app
from ingot.server.config import ServerConfig
from ingot.server.listener import listen, url_of

_START_TIMEOUT_S = 30.0
_STOP_SLACK_S = 10.0  # past the drain, for what was cancelled to clean up
_KEEP_ALIVE_S = 75  # longer than clients keep idle connections, so they close first


class Server:
    """An HTTP server for one ingot.

    ``run`` serves in the foreground; ``with Server(...) as server`` serves from a
    thread, at ``server.url``, until the block ends. Either works once.

    Args:
        ingot: The open model; stays the caller's to close, after the server.
        loop: The engine that runs it; likewise.
        config: Address, limits and waits.
        listener: A socket from ``listen(config)``, for a caller that takes the port
            before it loads the model; by default the port is taken here.

    Raises:
        ServeError: the port cannot be had.
    """

    def __init__(
        self,
        ingot: Ingot,
        loop: EngineLoop,
        config: ServerConfig | None = None,
        *,
        listener: socket.socket | None = None,
    ) -> None:
        config = config or ServerConfig()
        self._config = config
        self._listener = listener or listen(config)
        self.url = url_of(self._listener)
        """Where it answers, such as ``http://127.0.0.1:8000``."""
        self._uvicorn = _Uvicorn(
            uvicorn.Config(
                create_app(ingot, loop, config),
                http="httptools",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_keep_alive=_KEEP_ALIVE_S,
                timeout_graceful_shutdown=max(1, round(config.drain_timeout_s)),
            )
        )
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None

    def run(self, on_ready: Callable[[], None] | None = None) -> None:
        """Serve until SIGINT or SIGTERM; call from the main thread.

        The first signal lets running requests finish, for ``drain_timeout_s`` at
        most; a second one cancels them at once.

        Args:
            on_ready: Called once requests are answered.
        """
        self._uvicorn.on_ready = on_ready or (lambda: None)
        with _signals(self._uvicorn.stop):
            self._serve()

    def __enter__(self) -> Self:
        ready = threading.Event()
        self._uvicorn.on_ready = ready.set
        self._thread = threading.Thread(
            target=self._serve_in_thread, args=(ready,), name="ingot-server", daemon=True
        )
        self._thread.start()
        if not ready.wait(_START_TIMEOUT_S) or self._failure:
            raise ServeError("did not start", where=self.url) from self._failure
        return self

    def __exit__(self, *_: object) -> None:
        if self._thread is None:
            return
        self._uvicorn.stop()
        self._thread.join(self._config.drain_timeout_s + _STOP_SLACK_S)
        if self._thread.is_alive():
            raise ServeError("did not stop in time", where=self.url)

    def _serve(self) -> None:
        """Serve until told to stop; requests that outlive the drain are cancelled."""
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._uvicorn.serve(sockets=[self._listener]))

    def _serve_in_thread(self, ready: threading.Event) -> None:
        try:
            self._serve()
        except BaseException as failure:
            self._failure = failure
            raise
        finally:
            ready.set()


class _Uvicorn(uvicorn.Server):
    """uvicorn, stopped by us instead of by handlers of its own, which end the process by signal."""

    on_ready: Callable[[], None]

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.on_ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    def stop(self) -> None:
        """Drain and stop; called again, stop at once. Safe from signal handlers and threads."""
        self.force_exit = self.should_exit
        self.should_exit = True


@contextlib.contextmanager
def _signals(stop: Callable[[], None]) -> Iterator[None]:
    """Have SIGINT and SIGTERM call ``stop`` inside the block."""
    kinds = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(kind, lambda *_: stop()) for kind in kinds]
    try:
        yield
    finally:
        for kind, handler in zip(kinds, before, strict=True):
            signal.signal(kind, handler)
