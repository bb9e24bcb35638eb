"""Applications for a config file of Ray Serve, such as the one in a RayService of KubeRay."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict
from ray import serve

from ingot.cluster.serving.deployment import engine_spec, front_application
from ingot.cluster.serving.engines import engine_application
from ingot.cluster.serving.front import FrontSpec
from ingot.cluster.serving.messages import EngineSpec
from ingot.cluster.serving.replicas import parse_replicas
from ingot.server.settings import read_settings


class EngineArguments(BaseModel):
    """What ``engine`` takes under ``args``."""

    model_config = ConfigDict(extra="forbid")

    ingot: Path
    """The ingot, by a path that is the same on every machine."""
    replicas: str = "1"
    """As ``--replicas`` of ``ingot serve``."""
    settings: list[str] = []
    """As ``--set`` of ``ingot serve``; ``engine.threads`` is 1 by default."""
    executor: str = "auto"
    weights: str = "stored"
    signed_by: list[Path] = []
    """PEM files of public keys, of which one must have signed the ingot."""


class FrontArguments(EngineArguments):
    """What ``front`` takes under ``args``: that of its engine, and the engine's name."""

    engine: str
    """The application that holds the engine."""


def engine(args: EngineArguments) -> serve.Application:
    """Return the replicas of an engine; they have no address of their own.

    Raises:
        IngotError: an argument is out of its range, or the ingot cannot be opened.
    """
    return engine_application(_spec(args), parse_replicas(args.replicas))


def front(args: FrontArguments) -> serve.Application:
    """Return the application that answers HTTP; the host and port are those of the config file.

    Raises:
        IngotError: an argument is out of its range, or the ingot cannot be opened.
    """
    read = read_settings(args.settings, log_requests=True)
    replicas = parse_replicas(args.replicas)
    return front_application(FrontSpec(read.server, read.cost, args.engine, _spec(args), replicas))


def _spec(args: EngineArguments) -> EngineSpec:
    return engine_spec(
        args.ingot,
        read_settings(args.settings).engine,
        executor=args.executor,
        weights=args.weights,
        signed_by=tuple(args.signed_by),
    )
