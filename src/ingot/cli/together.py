"""Training by several workers: what ``--nodes`` and ``--cluster`` add."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ingot.cli.options import note
from ingot.errors import UsageError

if TYPE_CHECKING:
    from ingot.api.training import TrainedRun

Nodes = Annotated[
    str | None,
    typer.Option(metavar="N", help="Train in N worker processes, or on N machines."),
]
Rendezvous = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT", help="Where the machines meet; run the same command on each of them."
    ),
]
Cluster = Annotated[
    str | None,
    typer.Option(metavar="ray://HOST:PORT", help="Train on a Ray cluster; local starts one here."),
]
WorkerCount = Annotated[
    str | None,
    typer.Option("--workers", metavar="N", help="With --cluster: worker processes, 1 by default."),
]


@dataclass(frozen=True)
class Together:
    """The options of a training by several workers, as given."""

    nodes: str | None
    rendezvous: str | None
    watch: int | None
    cluster: str | None = None
    workers: str | None = None

    @property
    def asked(self) -> bool:
        """Whether several workers are asked for.

        Raises:
            UsageError: an option lacks the one that it belongs to, or excludes one that is given.
        """
        if self.workers is not None and self.cluster is None:
            fix = "give a Ray cluster, or --nodes without one"
            raise UsageError("needs --cluster", where="--workers", fix=fix)
        if self.cluster is not None and (self.nodes or self.rendezvous) is not None:
            fix = "say how many workers with --workers"
            raise UsageError("cannot be combined with --nodes", where="--cluster", fix=fix)
        if self.nodes is None and self.cluster is None:
            if self.rendezvous is not None:
                raise UsageError("needs --nodes", where="--rendezvous", fix="say how many machines")
            return False
        if self.watch is not None:
            fix = "watch the run's folder with: tensorboard --logdir RUN"
            raise UsageError("cannot be combined with several workers", where="--watch", fix=fix)
        return True

    def train(self, texts: list[Path], out: Path, **given: Any) -> TrainedRun:
        """Train a new run or, without texts, resume the one in ``out``."""
        if self.cluster is not None:
            return self._train_on_ray(self.cluster, texts, out, given)
        from ingot.cluster import torchrun
        from ingot.cluster.job import new_job
        from ingot.cluster.nodes import parse_nodes

        # Where machines meet, all of them must call the job by one name.
        name = f"ingot-{out.resolve().name}" if self.rendezvous else None
        job = new_job(texts, out, name=name, **given)
        return torchrun.train(job, parse_nodes(self.nodes or ""), self.rendezvous)

    def _train_on_ray(
        self, cluster: str, texts: list[Path], out: Path, given: dict[str, Any]
    ) -> TrainedRun:
        from ingot.cluster.nodes import parse_nodes

        workers = parse_nodes(self.workers or "1", "--workers")
        if find_spec("ray") is None:
            raise UsageError("needs Ray", where="--cluster", fix="pip install 'ingot[cluster]'")
        from ingot.cluster import ray_train
        from ingot.cluster.connection import connected
        from ingot.cluster.job import new_job

        job = new_job(texts, out, **given)
        with connected(cluster):
            note(f"{workers} workers on {cluster} train in {out}")
            return ray_train.train(job, workers)
