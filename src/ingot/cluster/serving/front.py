"""The HTTP application before the replicas: all of the server but sockets and engine."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, replace
from pathlib import Path

from ray import serve
from starlette.types import ASGIApp, Receive, Scope, Send

from ingot.artifact import Ingot, TrustedKeys, open_ingot
from ingot.cluster.serving.engines import handle_of, start_engine
from ingot.cluster.serving.messages import EngineDescription, EngineSpec
from ingot.cluster.serving.ray_replicas import RayReplicas
from ingot.cluster.serving.replicas import ReplicaCount
from ingot.cluster.serving.replicated_loop import ReplicaLost, ReplicatedLoop
from ingot.costs import CostConfig
from ingot.errors import IngotError, ServeError
from ingot.inference import RequestLoop
from ingot.inference.config import Weights
from ingot.server.access.admission import Admission
from ingot.server.access.api_keys import Keys
from ingot.server.access.in_flight import Activity
from ingot.server.access.tracing import Tracer
from ingot.server.app import create_app
from ingot.server.config import ServerConfig
from ingot.server.engine.costs import CostMeter
from ingot.server.engine.metrics import Metrics
from ingot.server.engine.model_registry import Models, ServedModel
from ingot.server.engine.outcomes import Outcomes
from ingot.server.engine.response_store import ResponseStore
from ingot.server.engine.service import Service
from ingot.server.engine.sleeping import Sleeper
from ingot.server.http.logs import LogWriter

_log = logging.getLogger(__name__)
_KEYS_EVERY_S = 1.0
_FIRST_ANSWER_S = 120.0
_PAUSE_S = 0.5


@dataclass(frozen=True)
class FrontSpec:
    """What the HTTP application is made of."""

    config: ServerConfig
    cost: CostConfig
    engine_app: str
    """Application of Ray Serve that holds the first model's engine."""
    engine: EngineSpec
    replicas: ReplicaCount


@serve.ingress()
class Front:
    """The server's application in a replica of Ray Serve, whose proxies hold the sockets.

    It keeps every stream: prompts, grammars, limits, tokens sent so far. There is one, so a limit
    of a key or of the server is a limit of the whole.

    Args:
        spec: Its parts.

    Raises:
        IngotError: the ingot or the keys cannot be read, or the replicas do not answer.
    """

    async def __init__(self, spec: FrontSpec) -> None:  # type: ignore[misc]  # Ray awaits it
        self._spec = spec
        config = spec.config
        self._event_loop = asyncio.get_running_loop()
        self._logs = LogWriter(config.log_file)
        self._installed = self._logs.installed()
        self._installed.__enter__()
        ingot = await asyncio.to_thread(_open, spec.engine)
        loop = await self._loop_of(spec.engine_app, ingot)
        name = config.model_name or ingot.path.absolute().name.removesuffix(".ingot")
        models = Models([ServedModel(name, ingot, loop)], self._load, config.max_models)
        admission, costs = Admission(config), CostMeter(spec.cost)
        sleeper = Sleeper(models, None)
        keys = Keys(config.api_keys) if config.api_keys else None
        outcomes = Outcomes()
        metrics = Metrics(models, admission, costs, outcomes, lambda: self._logs.dropped, sleeper)
        service = Service(
            config=config,
            models=models,
            admission=admission,
            activity=Activity(),
            metrics=metrics,
            costs=costs,
            outcomes=outcomes,
            responses=ResponseStore(config),
            sleeper=sleeper,
            tracer=Tracer(config.otlp_endpoint) if config.otlp_endpoint else None,
            keys=keys,
        )
        self._app = _without_lifespan(create_app(service))
        if keys is not None and config.api_keys is not None:
            self._rereading = asyncio.create_task(_reread(keys, config.api_keys))

    def __serve_build_asgi_app__(self) -> ASGIApp:
        """Return the application, once everything is there."""
        return self._app

    async def _loop_of(self, app: str, ingot: Ingot) -> ReplicatedLoop:
        """Return the loop of an engine's replicas, which run or are about to."""
        try:
            async with asyncio.timeout(_FIRST_ANSWER_S):
                replicas, description = await _first_answer(app)
        except TimeoutError as error:
            raise ServeError(
                f"did not answer within {_FIRST_ANSWER_S:g} s", where=app, fix="see its logs"
            ) from error
        if description.digest != ingot.digest:
            raise ServeError(f"serve {description.digest[:12]}, not {ingot.digest[:12]}", where=app)
        return ReplicatedLoop(
            replicas, ingot.tokenizer, description, self._spec.config.max_open_requests
        )

    def _load(self, path: Path, weights: Weights) -> tuple[Ingot, RequestLoop]:
        """Start replicas for another ingot; called in a thread.

        Raises:
            IngotError: it is refused, or the replicas do not start.
        """
        first = self._spec.engine
        ingot = open_ingot(path, trusted=_trusted(first))
        spec = replace(first, path=str(path), digest=ingot.digest)
        if weights != "stored":
            spec = replace(spec, weights=weights)
        app = start_engine(spec, self._spec.replicas)
        made = asyncio.run_coroutine_threadsafe(self._loop_of(app, ingot), self._event_loop)
        return ingot, made.result(2 * _FIRST_ANSWER_S)


async def _first_answer(app: str) -> tuple[RayReplicas, EngineDescription]:
    """Return an engine's replicas and what one says of itself; they may be about to start."""
    while True:
        try:
            replicas = RayReplicas(app, await asyncio.to_thread(handle_of, app))
            return replicas, await replicas.describe()
        except (ReplicaLost, ServeError) as error:
            _log.info("%s does not answer yet: %s", app, error)
        await asyncio.sleep(_PAUSE_S)


def _open(spec: EngineSpec) -> Ingot:
    """Open the ingot for its tokenizer and template; its weights are not read."""
    return open_ingot(Path(spec.path), trusted=_trusted(spec))


def _trusted(spec: EngineSpec) -> TrustedKeys | None:
    return TrustedKeys.read([Path(key) for key in spec.signed_by], None) if spec.signed_by else None


async def _reread(keys: Keys, path: Path) -> None:
    """Read the file of keys again whenever it has changed; a bad one changes nothing."""
    known = _state_of(path)
    while True:
        await asyncio.sleep(_KEYS_EVERY_S)
        if (now := _state_of(path)) == known:
            continue
        known = now
        try:
            keys.reload()
            _log.info("keys read again")
        except IngotError as error:
            _log.error("keys not reloaded: %s", error)


def _state_of(path: Path) -> tuple[int, int, int] | None:
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_ino, state.st_mtime_ns, state.st_size


def _without_lifespan(app: ASGIApp) -> ASGIApp:
    """Return an application that also answers ASGI's start and end, which ours has no use for."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await app(scope, receive, send)
            return
        while True:
            kind = (await receive())["type"]
            await send({"type": f"{kind}.complete"})
            if kind == "lifespan.shutdown":
                return

    return answer
