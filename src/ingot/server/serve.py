"""Server process: in the foreground until a signal, or in a thread."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Self

import uvicorn
import uvloop

from ingot.artifact import Ingot
from ingot.costs import CostConfig
from ingot.errors import IngotError, ServeError, UsageError
from ingot.inference import EngineLoop
from ingot.process import raise_file_limit, short_pauses
from ingot.server.access.admission import Admission
from ingot.server.access.api_keys import Keys
from ingot.server.access.in_flight import Activity
from ingot.server.access.tracing import Tracer
from ingot.server.app import create_app, start_batches
from ingot.server.batches.runner import Batches
from ingot.server.config import ServerConfig
from ingot.server.engine.background_hold import BackgroundHold
from ingot.server.engine.costs import CostMeter
from ingot.server.engine.kv_events import KvEvents, KvEventsConfig
from ingot.server.engine.metrics import Metrics
from ingot.server.engine.model_registry import Loader, Models, ServedModel
from ingot.server.engine.outcomes import Outcomes
from ingot.server.engine.response_store import ResponseStore
from ingot.server.engine.service import Service
from ingot.server.engine.sleeping import Sleeper
from ingot.server.http.connection_limit import ConnectionLimit
from ingot.server.http.listener import BACKLOG, at_once, listen, url_of
from ingot.server.http.logs import LogWriter
from ingot.server.http.protocol import GuardedProtocol
from ingot.server.http.tls import tls_context
from ingot.server.http.tls_server import TlsServer

_TICKS_PER_SECOND = 10  # of uvicorn's own timer
_TICKS_PER_MINUTE = 600
_log = logging.getLogger(__name__)
_START_TIMEOUT_S = 30.0
_STOP_SLACK_S = 10.0  # beyond the drain, so that cancelled requests can clean up
_KEEP_ALIVE_S = 75  # longer than clients keep idle connections, so they close first


class Server:
    """An HTTP server for one or more ingots.

    ``run`` serves in the foreground; ``with Server(...) as server`` serves from a
    thread, at ``server.url``, until the block ends. Either works once.

    Args:
        ingot: The open model; stays the caller's to close, after the server.
        loop: The engine that runs it; likewise.
        config: Address, limits and time-outs.
        listener: A socket from ``listen(config)``, for a caller that takes the port
            before it loads the model; by default the port is taken here.
        further: More models by name; likewise the caller's to close.
        loader: Opens further ingots while the server runs; the server closes those. None
            permits no exchange.
        cost: Power and prices of the machine.
        trainer: Program that makes updates of a copy of a model, for the page; None permits none.
        kv_events: Where to publish what the prefix caches hold; by default nowhere.

    Raises:
        ServeError: the port cannot be bound, or the log cannot be written.
        UsageError: the file of keys or the certificate is invalid, or two models have one name.
    """

    def __init__(  # noqa: PLR0913 (all but two have defaults)
        self,
        ingot: Ingot,
        loop: EngineLoop,
        config: ServerConfig | None = None,
        *,
        listener: socket.socket | None = None,
        further: Iterable[tuple[str, Ingot, EngineLoop]] = (),
        loader: Loader | None = None,
        cost: CostConfig | None = None,
        trainer: Path | None = None,
        kv_events: KvEventsConfig | None = None,
    ) -> None:
        config = config or ServerConfig()
        self._config = config
        self._trainer = trainer
        self._costs = CostMeter(cost or CostConfig())
        self._tls = tls_context(config)
        self._listener = listener or listen(config)
        self.url = url_of(self._listener, config)
        """Its address, such as ``http://127.0.0.1:8000``, or ``unix:/run/ingot.sock``."""
        name = config.model_name or ingot.path.absolute().name.removesuffix(".ingot")
        models = [ServedModel(name, ingot, loop), *(ServedModel(*more) for more in further)]
        self.kv_events = KvEvents(kv_events or KvEventsConfig(), self._address())
        """Publishers of what the prefix caches hold."""
        self._models = Models(models, loader, config.max_models, self.kv_events)
        if config.idle_unload_s is not None and loader is None:
            raise UsageError(
                "needs a loader to open an ingot again",
                where="server.idle_unload_s",
                fix="give one",
            )
        self._sleeper = Sleeper(self._models, config.idle_unload_s)
        self._keys = Keys(config.api_keys) if config.api_keys else None
        self._logs = LogWriter(config.log_file)
        self._tracer = Tracer(config.otlp_endpoint) if config.otlp_endpoint else None
        self._connections = ConnectionLimit(config.max_connections)
        self._batches = Batches(config.batches, config) if config.batches else None
        self._uvicorn = _Uvicorn(
            self._uvicorn_config(), self._models, self.reload_keys, self._costs, self._sleeper
        )
        self._uvicorn.batches = self._batches
        self._uvicorn.tls_server = self._tls_server
        self._uvicorn.start_batches = self._start_batches
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None

    def run(self, on_ready: Callable[[], None] | None = None) -> None:
        """Serve until SIGINT or SIGTERM; call from the main thread.

        The first signal lets running requests finish, for ``drain_timeout_s`` at
        most; a second one cancels them at once. SIGHUP reloads the file of keys.

        Args:
            on_ready: Called once the server answers requests.

        Raises:
            ServeError: an engine failed; every request in flight got an error.
        """
        self._uvicorn.on_ready = on_ready or (lambda: None)
        self._uvicorn.ends_on_failure = True
        with (
            self._logs.installed(),
            _signals(self._uvicorn.stop, self._uvicorn.ask_reload),
            short_pauses(),
        ):
            self._serve()
        if (failed := self._models.failed) is not None:
            raise ServeError(f"failed ({failed})", where="engine", fix="restart the server")

    def reload_keys(self) -> None:
        """Reload the file of keys; if it is invalid, the keys read before remain."""
        if self._keys is None:
            return
        try:
            self._keys.reload()
        except IngotError as error:
            _log.error("keys not reloaded: %s", error)
        else:
            _log.info("keys reloaded")

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

    def _address(self) -> str:
        """Return host and port for those who know the server by them."""
        return self.url.partition("://")[2].partition("/")[0] or self.url

    def _uvicorn_config(self) -> uvicorn.Config:
        config = self._config
        admission = Admission(config)
        connections = self._connections
        outcomes = Outcomes()
        metrics = Metrics(
            self._models,
            admission,
            self._costs,
            outcomes,
            lambda: self._logs.dropped,
            self._sleeper,
            config.objective_for,
        )
        service = Service(
            config=config,
            models=self._models,
            admission=admission,
            activity=Activity(),
            metrics=metrics,
            costs=self._costs,
            outcomes=outcomes,
            responses=ResponseStore(config),
            sleeper=self._sleeper,
            tracer=self._tracer,
            keys=self._keys,
            trainer=self._trainer,
            batches=self._batches,
            hold=BackgroundHold(self._models) if self._batches else None,
        )
        self._start_batches = partial(start_batches, service)
        return uvicorn.Config(
            create_app(service),
            # uvicorn only calls it.
            http=partial(GuardedProtocol, config, connections),  # type: ignore[arg-type]
            ws="none",
            lifespan="off",
            backlog=BACKLOG,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=max(1, round(config.drain_timeout_s)),
        )

    def _tls_server(self, make: Callable[[], GuardedProtocol]) -> TlsServer | None:
        """Return what accepts TLS connections; None where the server speaks plain HTTP."""
        if self._tls is None:
            return None
        return TlsServer(self._tls, self._config.header_timeout_s, self._connections, make)

    def _serve(self) -> None:
        """Serve until stopped; cancel requests that outlive the drain."""
        raise_file_limit()
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            try:
                runner.run(self._uvicorn.serve(sockets=at_once(self._listener)))
            finally:
                if self._config.uds is not None:
                    self._config.uds.unlink(missing_ok=True)
                self._models.close_opened()
                self.kv_events.close()
                if self._tracer is not None:
                    self._tracer.close()

    def _serve_in_thread(self, ready: threading.Event) -> None:
        try:
            self._serve()
        except BaseException as failure:
            self._failure = failure
            raise
        finally:
            ready.set()


class _Uvicorn(uvicorn.Server):
    """uvicorn without its signal handlers, which would end the process by the signal."""

    on_ready: Callable[[], None]
    ends_on_failure = False
    tls_server: Callable[[Callable[[], GuardedProtocol]], TlsServer | None]
    start_batches: Callable[[], None]
    batches: Batches | None

    def __init__(
        self,
        config: uvicorn.Config,
        models: Models,
        reload_keys: Callable[[], None],
        costs: CostMeter,
        sleeper: Sleeper,
    ) -> None:
        super().__init__(config)
        self._sleeper = sleeper
        self._costs = costs
        self._models = models
        self._reload_keys = reload_keys
        self._reload_asked = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        tls = self.tls_server(self._make_protocol)
        if tls is None:
            await super().startup(sockets)
        else:
            await super().startup([])
            tls.start(sockets or [])
            self.servers.append(tls)  # type: ignore[arg-type]  # uvicorn closes it with the others
        self.start_batches()
        self.on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self.batches is not None:
            await self.batches.stop()
        await super().shutdown(sockets)

    def _make_protocol(self) -> GuardedProtocol:
        """Return a connection's protocol, as uvicorn makes it."""
        return self.config.http_protocol_class(  # type: ignore[call-arg, return-value]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )

    async def on_tick(self, counter: int) -> bool:
        if counter % _TICKS_PER_MINUTE == 0:
            self._costs.watts()  # the processors' counters turn over within an hour
        if counter % _TICKS_PER_SECOND == 0:
            self._sleeper.sleep_idle()
        if self._reload_asked:
            self._reload_asked = False
            self._reload_keys()
        if self.ends_on_failure and self._models.failed is not None:
            self.should_exit = True
        return await super().on_tick(counter)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    def stop(self) -> None:
        """Drain and stop; called again, stop at once. Safe from signal handlers and threads."""
        self.force_exit = self.should_exit
        self.should_exit = True

    def ask_reload(self) -> None:
        """Have the keys reloaded; safe from signal handlers, which must not log or wait."""
        self._reload_asked = True


@contextlib.contextmanager
def _signals(stop: Callable[[], None], reload: Callable[[], None]) -> Iterator[None]:
    """Have SIGINT and SIGTERM call ``stop`` and SIGHUP ``reload`` inside the block."""
    wanted = {signal.SIGINT: stop, signal.SIGTERM: stop, signal.SIGHUP: reload}
    before = {
        kind: signal.signal(kind, lambda *_, action=action: action())
        for kind, action in wanted.items()
    }
    try:
        yield
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
