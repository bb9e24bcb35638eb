"""Training by several workers: what ``--nodes`` and ``--rendezvous`` add."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

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


@dataclass(frozen=True)
class Together:
    """The options of a training by several workers, as given."""

    nodes: str | None
    rendezvous: str | None
    watch: int | None

    @property
    def asked(self) -> bool:
        """Whether several workers are asked for.

        Raises:
            UsageError: an option lacks the one that it belongs to, or excludes one that is given.
        """
        if self.nodes is None:
            if self.rendezvous is not None:
                raise UsageError("needs --nodes", where="--rendezvous", fix="say how many machines")
            return False
        if self.watch is not None:
            fix = "watch the run's folder with: tensorboard --logdir RUN"
            raise UsageError("cannot be combined with several workers", where="--watch", fix=fix)
        return True

    def train(self, texts: list[Path], out: Path, **given: Any) -> TrainedRun:
        """Train a new run or, without texts, resume the one in ``out``."""
        from ingot.cluster import torchrun
        from ingot.cluster.job import new_job
        from ingot.cluster.nodes import parse_nodes

        # Where machines meet, all of them must call the job by one name.
        name = f"ingot-{out.resolve().name}" if self.rendezvous else None
        job = new_job(texts, out, name=name, **given)
        return torchrun.train(job, parse_nodes(self.nodes or ""), self.rendezvous)
