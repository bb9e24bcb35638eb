"""A model served on a Ray cluster, from its start to its end."""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ray
from ray import serve
from ray.util.client import ray as client

from ingot.artifact import TrustedKeys, open_ingot
from ingot.cluster.serving.engines import (
    ENGINE_PREFIX,
    begin,
    start_engine,
    wait_until_running,
)
from ingot.cluster.serving.front import Front, FrontSpec
from ingot.cluster.serving.messages import EngineSpec
from ingot.cluster.serving.replicas import ReplicaCount
from ingot.costs import CostConfig
from ingot.errors import ServeError, UsageError
from ingot.inference import EngineConfig
from ingot.server.config import ServerConfig
from ingot.server.http.listener import listen

FRONT = "ingot"
"""Application of Ray Serve that answers HTTP."""
_START_S = 180.0
_ENDING_S = 60.0
_CONNECTIONS = 10_000


def front_application(spec: FrontSpec) -> serve.Application:
    """Return the application that answers HTTP. One replica, which holds every open stream."""
    deployment = serve.deployment(Front).options(
        name="front",
        num_replicas=1,
        max_ongoing_requests=_CONNECTIONS,
        ray_actor_options={"num_cpus": 0},
        max_constructor_retry_count=2,
        graceful_shutdown_timeout_s=spec.config.drain_timeout_s,
        graceful_shutdown_wait_loop_s=0.1,
        health_check_period_s=2.0,
        health_check_timeout_s=30.0,
    )
    application: serve.Application = deployment.bind(spec)
    return application


def engine_spec(
    path: Path,
    engine: EngineConfig,
    *,
    executor: str = "auto",
    weights: Any = "stored",
    signed_by: tuple[Path, ...] = (),
) -> EngineSpec:
    """Return what replicas of an ingot are made of; each computes with one thread by default.

    Raises:
        ArtifactError: the ingot is missing, malformed or not signed as required.
    """
    path = path.absolute()
    keys = tuple(str(key.absolute()) for key in signed_by)
    trusted = TrustedKeys.read([Path(key) for key in keys], None) if keys else None
    with open_ingot(path, trusted=trusted) as ingot:
        digest = ingot.digest
    if engine.threads is None:
        engine = engine.model_copy(update={"threads": 1})
    return EngineSpec(str(path), digest, engine, executor, weights, keys)


@contextlib.contextmanager
def served(
    spec: EngineSpec,
    replicas: ReplicaCount,
    config: ServerConfig,
    cost: CostConfig | None = None,
) -> Iterator[str]:
    """Serve a model on the cluster that this process is connected to, inside the block.

    Yields:
        The address to open. At the end of the block requests in flight finish, for
        ``drain_timeout_s`` at most; then every replica ends.

    Raises:
        UsageError: a setting is not for a cluster, or the cluster has too few CPUs.
        ServeError: Ingot serves there already, the port is taken, or something does not start.
    """
    if "INGOT_DEBUG" not in os.environ:
        logging.getLogger("ray.serve").setLevel(logging.ERROR)
    _check_settings(config)
    _check_resources(spec, replicas)
    running = serve.status().applications
    if FRONT in running:
        raise ServeError(
            "serves a model already",
            where="the cluster",
            fix="load another one with POST /admin/ingots, or stop that server first",
        )
    port = _port(config)
    try:
        serve.start(
            proxy_location="HeadOnly",
            http_options={"host": config.host, "port": port, "keep_alive_timeout_s": 75},
            logging_config={"log_level": "ERROR", "enable_access_log": False},
        )
        app = start_engine(spec, replicas)
        config = config.model_copy(update={"port": port})
        front = FrontSpec(config, cost or CostConfig(), app, spec, replicas)
        begin(front_application(front), FRONT, config.root_path or "/")
        wait_until_running(FRONT, _START_S)
        yield f"http://{_shown(config.host)}:{port}{config.root_path}"
    finally:
        _end()


def run(
    spec: EngineSpec,
    replicas: ReplicaCount,
    config: ServerConfig,
    cost: CostConfig,
    on_ready: Callable[[str], None],
) -> None:
    """Serve until SIGINT or SIGTERM; arguments and errors as ``served``.

    Args:
        spec: The engine.
        replicas: How many.
        config: Address, limits and timeouts.
        cost: Power and prices.
        on_ready: Called with the address once requests are answered.
    """
    stop = threading.Event()
    with served(spec, replicas, config, cost) as url:
        for kind in (signal.SIGINT, signal.SIGTERM):  # after Ray has set its own handlers
            signal.signal(kind, lambda *_: stop.set())
        on_ready(url)
        stop.wait()


def _check_settings(config: ServerConfig) -> None:
    """Refuse what belongs to one process, and addresses that are open without keys."""
    for name, given in (
        ("uds", config.uds),
        ("tls_cert", config.tls_cert),
        ("batches", config.batches),
        ("idle_unload_s", config.idle_unload_s),
        ("objective", config.objective or config.model_objectives),
    ):
        if given:
            raise UsageError(
                "is not possible on a cluster", where=f"server.{name}", fix="leave it out"
            )


def _check_resources(spec: EngineSpec, replicas: ReplicaCount) -> None:
    """Refuse more replicas than the cluster has CPUs for."""
    each = spec.engine.threads or 1
    cpus = int(ray.cluster_resources().get("CPU", 0))
    if replicas.least * each > cpus:
        raise UsageError(
            f"{replicas.least} replicas of {each} CPU{'s' if each > 1 else ''} need "
            f"{replicas.least * each}, the cluster has {cpus}",
            where="--replicas",
            fix="ask for fewer, lower --threads, or add machines",
        )


def _port(config: ServerConfig) -> int:
    """Return a port of the configured address, bound for a moment to see whether it is free.

    Raises:
        ServeError: as ``listen``.
    """
    with contextlib.closing(listen(config)) as listener:
        port: int = listener.getsockname()[1]
    return port


def _shown(host: str) -> str:
    """Return an address that can be opened on the head's machine."""
    try:
        address = ipaddress.ip_address(socket.gethostbyname(host))
    except (OSError, ValueError):
        return host
    return "127.0.0.1" if address.is_unspecified else host


def _end() -> None:
    """Remove every application of Ingot's, first the one that takes requests."""
    with contextlib.suppress(Exception):
        applications = serve.status().applications
        if FRONT in applications:
            serve.delete(FRONT)
        for name in applications:
            if name.startswith(ENGINE_PREFIX):
                serve.delete(name)
    if not client.is_connected():
        return  # this process started the cluster, and Ray Serve ends with it
    with contextlib.suppress(Exception):
        if not serve.status().applications:
            serve.shutdown()
