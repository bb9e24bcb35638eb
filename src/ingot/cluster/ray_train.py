"""Training by several workers of a Ray cluster, through Ray Train's ``TorchTrainer``."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import ray
import torch
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer
from torch import distributed

from ingot.api.training import TrainedRun, stopped_run
from ingot.cluster.driver import drive
from ingot.cluster.job import RESTARTS, TrainingJob
from ingot.cluster.outcome import Outcome, Told, error_told, told_error
from ingot.cluster.stopping import hearing_stop
from ingot.errors import IngotError, ResourceError, TrainingError

_WAIT_S = 3600  # others wait so long while rank 0 scores and saves


def train(job: TrainingJob, workers: int) -> TrainedRun:
    """Train on the cluster that this process is connected to.

    A worker that is lost ends the others; all are started again, from the last checkpoint.

    Args:
        job: The job; every machine must see its paths.
        workers: How many workers, each with one GPU or, on a cluster without, one CPU.

    Raises:
        IngotError: what ended the job.
        Interrupted: SIGINT or SIGTERM; where updates would be lost, a checkpoint was written.
        ResourceError: the cluster has fewer devices than workers.
        TrainingError: workers were lost too often.
    """
    folder = Path(job.out)
    gpus = _require_devices(workers)
    told = drive(_train, (asdict(job), workers, gpus), folder, lambda: stopped_run(folder))
    if (error := error_told(told)) is not None:
        raise error
    if "lost" in told:
        raise TrainingError(
            f"a worker was lost after {RESTARTS} restarts ({told['lost']})",
            where=job.out,
            fix=f"continue with: ingot resume {job.out}",
        )
    return job.trained(told)


def _require_devices(workers: int) -> bool:
    """Tell whether workers take GPUs.

    Raises:
        ResourceError: the cluster has too few devices.
    """
    there = ray.cluster_resources()
    gpus = int(there.get("GPU", 0))
    most, kind = (gpus, "GPU") if gpus else (int(there.get("CPU", 0)), "CPU")
    if workers > most:
        raise ResourceError(
            f"asks for {workers} workers, and the cluster has {most} {kind}s",
            where="--workers",
            fix=f"ask for at most {most}, or add machines",
        )
    return bool(gpus)


def _train(job: dict[str, Any], workers: int, gpus: bool) -> Told:
    """Start the workers and wait for their end; runs on the cluster."""
    outcome = ray.remote(num_cpus=0)(Outcome).remote()
    kept = tempfile.mkdtemp(prefix="ingot-ray-")  # Ray's own record; our checkpoints are the run's
    trainer = TorchTrainer(
        _work,
        train_loop_config={"job": job, "outcome": outcome},
        torch_config=TorchConfig("cpu:gloo,cuda:nccl" if gpus else "gloo", timeout_s=_WAIT_S),
        scaling_config=ScalingConfig(num_workers=workers, use_gpu=gpus),
        run_config=RunConfig(
            name=job["name"],
            storage_path=kept,
            failure_config=FailureConfig(RESTARTS, controller_failure_limit=RESTARTS),
        ),
    )
    lost = ""
    try:
        trainer.fit()
    except Exception as error:  # Ray Train has several, for workers and for its own parts
        lost = " ".join(str(error).split())[:300] or type(error).__name__
    finally:
        shutil.rmtree(kept, ignore_errors=True)
    told: Told = ray.get(outcome.told.remote())
    return told or {"lost": lost or "no worker told how it ended"}


def _work(given: dict[str, Any]) -> None:
    """Carry out a job as one of its workers; runs in each of them."""
    job, outcome = TrainingJob(**given["job"]), given["outcome"]
    try:
        with hearing_stop(Path(job.out)) as callbacks:
            told = job.work(callbacks)
    except IngotError as error:
        told = told_error(error)
    except Exception:
        if ray.get(outcome.told.remote()) and not os.environ.get("INGOT_DEBUG"):
            return  # another worker has left for a reason, which is what broke this one
        raise
    ray.get(outcome.tell.remote(told))
    if "error" in told and torch.distributed.is_initialized():
        distributed.destroy_process_group()  # so that no other waits for this one
