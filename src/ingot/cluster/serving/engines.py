"""Applications of Ray Serve that each hold the replicas of one engine."""

from __future__ import annotations

import time
import uuid
from typing import Any

import ray
from ray import serve
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle

from ingot.cluster.serving.messages import EngineSpec
from ingot.cluster.serving.replica import EngineReplica
from ingot.cluster.serving.replicas import ReplicaCount
from ingot.errors import ServeError

ENGINE_PREFIX = "ingot-engine-"
"""With which the names of these applications begin."""
_ROUTER = "ingot.cluster.serving.router:EngineRouter"
_START_S = 300.0
_POLL_S = 0.25
_DRAIN_S = 30.0


def engine_application(spec: EngineSpec, replicas: ReplicaCount) -> serve.Application:
    """Return the application of an engine, without a listening address.

    Ray's prefix-aware router sends a prompt to the replica that has seen its beginning, unless
    that one has a quarter of a batch more to do than the least busy one. Autoscaling aims at one
    full batch of open sequences for each replica.
    """
    limits = spec.engine
    options: dict[str, Any] = {"num_replicas": replicas.least}
    if replicas.most > replicas.least:
        options = {
            "autoscaling_config": {
                "min_replicas": replicas.least,
                "max_replicas": replicas.most,
                "target_ongoing_requests": limits.max_sequences,
            }
        }
    deployment = serve.deployment(EngineReplica).options(
        name="engine",
        max_ongoing_requests=limits.max_sequences + limits.max_waiting,
        ray_actor_options={"num_cpus": limits.threads or 1},
        graceful_shutdown_timeout_s=_DRAIN_S,
        graceful_shutdown_wait_loop_s=0.1,
        max_constructor_retry_count=2,
        health_check_period_s=2.0,
        health_check_timeout_s=20.0,
        request_router_config={
            "request_router_class": _ROUTER,
            "request_router_kwargs": {
                "imbalanced_threshold": max(1, limits.max_sequences // 4),
                "do_eviction": True,
            },
        },
        **options,
    )
    application: serve.Application = deployment.bind(spec)
    return application


def start_engine(spec: EngineSpec, replicas: ReplicaCount) -> str:
    """Start an engine's replicas and wait until they are there; return the application's name.

    Raises:
        ServeError: they did not start; what a replica raised is in the message.
    """
    name = f"{ENGINE_PREFIX}{spec.digest[:12]}-{uuid.uuid4().hex[:8]}"
    begin(engine_application(spec, replicas), name, None)
    wait_until_running(name, _START_S)
    return name


def begin(application: serve.Application, name: str, route: str | None) -> None:
    """Have an application started, without waiting until it runs."""
    target = serve.RunTarget(application, name=name, route_prefix=route)
    serve.run_many(
        [target], wait_for_ingress_deployment_creation=False, wait_for_applications_running=False
    )


def wait_until_running(app: str, timeout_s: float) -> None:
    """Wait until an application runs; remove it if it does not.

    Raises:
        ServeError: it failed, or takes longer.
    """
    until = time.monotonic() + timeout_s
    while True:
        status = serve.status().applications.get(app)
        if status is not None and status.status == "RUNNING":
            return
        messages = [] if status is None else [one.message for one in status.deployments.values()]
        failed = status is not None and status.status in {"DEPLOY_FAILED", "UNHEALTHY"}
        if failed or time.monotonic() > until:
            serve.delete(app, _blocking=False)
            why = _last_line(" ".join(messages) or (status.message if status else ""))
            raise ServeError(
                f"did not start ({why or f'not within {timeout_s:g} s'})",
                where=app,
                fix="see the replicas' logs: ray logs cluster",
            )
        time.sleep(_POLL_S)


def handle_of(app: str) -> DeploymentHandle[Any]:
    """Return the handle of an application.

    Raises:
        ServeError: there is none of this name.
    """
    try:
        return serve.get_app_handle(app)
    except (RayServeException, ray.exceptions.RayError) as error:
        raise ServeError("is not running", where=app, fix="start it first") from error


def _last_line(text: str) -> str:
    """Return the line of a traceback that says what was wrong."""
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    told = [line for line in lines if "Error" in line]
    return (told or lines or [""])[-1][:300]
