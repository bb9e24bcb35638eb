"""Serving on a Ray cluster: what ``ingot serve --cluster`` does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ingot.cli.options import note, say
from ingot.errors import UsageError

if TYPE_CHECKING:
    from ingot.server.settings import ServeSettings

Cluster = Annotated[
    str | None,
    typer.Option(metavar="ray://HOST:PORT", help="Serve on a Ray cluster; local starts one here."),
]
Replicas = Annotated[
    str | None,
    typer.Option(
        metavar="N or N..M",
        help="With --cluster: replicas of the engine, or least and most for autoscaling.",
    ),
]


def serve_on_cluster(
    address: str,
    replicas: str,
    named: Mapping[str, Path],
    read: ServeSettings,
    *,
    executor: str,
    weights: str,
    signed_by: Sequence[Path],
    json: bool,
) -> None:
    """Serve one ingot on a cluster until Ctrl-C.

    Raises:
        UsageError: an option is not for a cluster, or no cluster answers.
        ServeError: something does not start.
    """
    from ingot.api.sources import as_ingot

    if find_spec("ray") is None:
        raise UsageError("needs Ray", where="--cluster", fix="pip install 'ingot[cluster]'")
    from ingot.cluster.connection import connected
    from ingot.cluster.serving.deployment import engine_spec, run
    from ingot.cluster.serving.replicas import parse_replicas

    count = parse_replicas(replicas)
    if len(named) > 1:
        raise UsageError(
            f"begins with one ingot, got {len(named)}",
            where="--cluster",
            fix="load the others with POST /admin/ingots",
        )
    ((name, path),) = named.items()
    spec = engine_spec(
        path if signed_by else as_ingot(path, note),
        read.engine,
        executor=executor,
        weights=weights,
        signed_by=tuple(signed_by),
    )
    with connected(address):

        def announce(url: str) -> None:
            ready = {"url": url, "digest": spec.digest, "replicas": replicas}
            text = f"serving {name} ({spec.digest[:12]}) at {url} on {address}, {replicas} replicas"
            say(json, ready, f"{text}; Ctrl-C stops")

        run(spec, count, read.server, read.cost, announce)
    note("stopped; every replica has ended")
