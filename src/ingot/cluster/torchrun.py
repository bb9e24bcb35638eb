"""Training in several processes under ``torchrun``: on this machine, or on several."""

from __future__ import annotations

import json
import logging
import os
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.elastic.rendezvous.api import RendezvousError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from ingot import errors
from ingot.api.training import TrainedRun, stopped_run
from ingot.cluster.job import RESTARTS, TrainingJob
from ingot.cluster.worker import OUTCOME
from ingot.errors import IngotError, ResourceError, TrainingError
from ingot.process import usable_cores

_MEET_S = 120  # machines wait so long for each other
_SAVE_S = 120  # after a signal, workers have so long to write a checkpoint


def train(job: TrainingJob, nodes: int, rendezvous: str | None = None) -> TrainedRun:
    """Train as one of the machines of a job.

    A worker that is lost ends the others; all are started again, from the last checkpoint.

    Args:
        job: The job; where several machines take part, the same on each.
        nodes: How many workers on this machine or, with a rendezvous, how many machines.
        rendezvous: ``HOST:PORT`` on one of several machines, where they meet.

    Raises:
        IngotError: what ended the job.
        Interrupted: SIGINT or SIGTERM; where updates would be lost, a checkpoint was written.
        ResourceError: this machine has fewer devices than workers.
        TrainingError: workers were lost too often, or the machines did not meet.
    """
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    # Each start uses a separate store: in the agent's, which all starts would share, workers
    # that are started again find the addresses of those that were lost.
    os.environ["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"
    with tempfile.TemporaryDirectory(prefix="ingot-job-") as folder:
        path = Path(folder) / "job.json"
        path.write_text(json.dumps(asdict(job)))
        launch = elastic_launch(_config(job, nodes, rendezvous), sys.executable)
        try:
            launch("-m", "ingot.cluster.worker", str(path))
        except SignalException as error:
            raise _told(path.with_name(OUTCOME)) or stopped_run(Path(job.out)) from error
        except ChildFailedError as error:
            raise _gave_up(job, error) from error
        except RendezvousError as error:
            raise TrainingError(
                f"{nodes} machines did not meet within {_MEET_S} s",
                where=rendezvous,
                fix="run the same command on each, with a --rendezvous that all of them reach",
            ) from error
        if (told := _told(path.with_name(OUTCOME))) is not None:
            raise told
        return job.trained(json.loads(path.with_name(OUTCOME).read_bytes()))


def _config(job: TrainingJob, nodes: int, rendezvous: str | None) -> LaunchConfig:
    """Return how torchrun is to start this machine's workers."""
    gpus = torch.cuda.device_count()
    if rendezvous is None:
        here, most = nodes, gpus or usable_cores()
        if here > most:
            kind = "GPU" if gpus else "core"
            raise ResourceError(
                f"asks for {here} workers, and this machine has {most} {kind}s",
                where="--nodes",
                fix=f"ask for at most {most}, or give --rendezvous HOST:PORT to use more machines",
            )
        machines = 1
    else:
        here, machines = gpus or 1, nodes
    return LaunchConfig(
        min_nodes=machines,
        max_nodes=machines,
        nproc_per_node=here,
        run_id=job.name,
        rdzv_backend="c10d",
        rdzv_endpoint=rendezvous or "localhost:0",
        rdzv_configs={"timeout": _MEET_S, "join_timeout": _MEET_S},
        local_addr=None if rendezvous else "localhost",
        max_restarts=RESTARTS,
        shutdown_timeout=_SAVE_S,
    )


def _told(outcome: Path) -> IngotError | None:
    """Return the error that a worker has written, if one has."""
    told: dict[str, Any] = json.loads(outcome.read_bytes()) if outcome.exists() else {}
    if "error" not in told:
        return None
    kind: type[IngotError] = getattr(errors, told["kind"])
    return kind(told["error"])


def _gave_up(job: TrainingJob, error: ChildFailedError) -> TrainingError:
    """Return the error for workers that were lost too often."""
    rank, failure = error.get_first_failure()
    return TrainingError(
        f"worker {rank} was lost after {RESTARTS} restarts ({_first_line(failure.message)})",
        where=job.out,
        fix=f"continue with: ingot resume {job.out}",
    )


def _first_line(message: Any) -> str:
    """Return the first line of what torchrun knows of a failure: a text, or a record of one."""
    while isinstance(message, dict):
        message = message.get("message", "")
    return str(message).strip().partition("\n")[0]
