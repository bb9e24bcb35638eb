"""``ingot train --cluster``: what torchrun's two processes make, through a killed worker too."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest

Cli = Callable[..., subprocess.CompletedProcess[str]]
Wait = Callable[[Callable[[], bool]], None]
LENGTH = ["--set", "run.steps=100", "--set", "run.evaluations=5", "--set", "run.samples=0"]
EXACT = ["--set", "run.precision=float32", "--set", "run.checkpoint_seconds=0.5"]


class RayCluster(Protocol):
    address: str


def events(run: Path, kind: str) -> list[dict[str, Any]]:
    records = map(json.loads, (run / "metrics.jsonl").read_bytes().splitlines())
    return [record for record in records if record["event"] == kind]


def losses(run: Path) -> list[float]:
    return [record["loss"] for record in events(run, "stepped")]


def last_weights(run: Path) -> bytes:
    return (run / "checkpoints" / "step-00000100" / "model.safetensors").read_bytes()


def sealed_without_its_time(cli: Cli, run: Path) -> dict[str, Any]:
    """The manifest of a run's ingot: every digest but the last, which also covers its seconds."""
    out = run.with_suffix(".ingot")
    cli("freeze", run, "--out", out, "--latest")
    manifest: dict[str, Any] = json.loads((out / "ingot.json").read_text())
    del manifest["digest"], manifest["provenance"]["wall_seconds"]
    return manifest


def training_workers() -> Iterator[int]:
    """The processes of Ray Train's workers on this machine."""
    for folder in Path("/proc").iterdir():
        try:
            name = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if folder.name.isdecimal() and name.startswith(b"ray::RayTrainWorker"):
            yield int(folder.name)


@pytest.fixture(scope="module")
def under_torchrun(
    cli: Cli, texts: Path, small: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A run in two processes of torchrun."""
    run = tmp_path_factory.mktemp("torchrun") / "run"
    cli("train", texts, "--out", run, "--nodes", "2", *small, *LENGTH, *EXACT)
    return run


def test_a_killed_worker_changes_no_loss_no_weight_and_no_digest(
    cli: Cli,
    texts: Path,
    small: list[str],
    under_torchrun: Path,
    tmp_path: Path,
    wait_until: Wait,
    ray_cluster: RayCluster,
) -> None:
    run = tmp_path / "run"
    command = ["train", texts, "--out", run, "--cluster", ray_cluster.address, "--workers", "2"]
    command += [*small, *LENGTH, *EXACT]
    process = subprocess.Popen(
        [sys.executable, "-m", "ingot", *map(str, command)],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def has_a_checkpoint() -> bool:
        return any((run / "checkpoints").glob("step-*/state.json")) and len(losses(run)) < 80

    wait_until(lambda: process.poll() is not None or has_a_checkpoint())
    workers = list(training_workers())
    assert len(workers) == 2
    os.kill(workers[1], signal.SIGKILL)
    out, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
    assert f"seal it with: ingot freeze {run}" in out
    assert any(record["step"] > 0 for record in events(run, "started"))
    assert losses(run) == losses(under_torchrun)
    assert last_weights(run) == last_weights(under_torchrun)
    assert sealed_without_its_time(cli, run) == sealed_without_its_time(cli, under_torchrun)


def test_what_cannot_be_trained_is_refused_in_one_line(
    cli: Cli, texts: Path, tmp_path: Path, ray_cluster: RayCluster
) -> None:
    command = ["train", texts, "--out", tmp_path / "run", "--cluster", ray_cluster.address]
    refused = cli(*command, "--set", "run.stepps=1", "--workers", "2", code=4)
    assert "run.steps" in refused.stderr.splitlines()[-1]
    assert "Traceback" not in refused.stderr
    too_many = cli(*command, "--workers", "3", code=8)
    assert "asks for 3 workers, and the cluster has 2 CPUs" in too_many.stderr
    assert list(tmp_path.iterdir()) == []
