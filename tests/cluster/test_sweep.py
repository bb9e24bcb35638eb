"""``ingot sweep``: runs side by side on Ray, each what ``ingot train`` makes of its settings."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import pytest

Cli = Callable[..., subprocess.CompletedProcess[str]]
SHORT = ["--set", "run.steps=6", "--set", "run.samples=0", "--set", "run.precision=float32"]


class RayCluster(Protocol):
    address: str


def losses(run: Path) -> list[float]:
    records = map(json.loads, (run / "metrics.jsonl").read_bytes().splitlines())
    return [record["loss"] for record in records if record["event"] == "stepped"]


def runs_of(cli: Cli, folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(cli("runs", folder, "--json").stdout)
    return found


def test_runs_of_a_sweep_are_listed_and_are_those_of_train(
    cli: Cli, texts: Path, small: list[str], tmp_path: Path, ray_cluster: RayCluster
) -> None:
    out = tmp_path / "sweep"
    over = ["--over", "optimizer.muon_lr=0.001,0.05", "--over", "run.seed=1,2"]
    done = cli(
        "sweep", texts, "--out", out, "--cluster", ray_cluster.address, *over, *small, *SHORT,
        "--json",
    )  # fmt: skip
    told = json.loads(done.stdout)
    assert told["failed"] == []
    assert [row["status"] for row in told["runs"]] == ["finished"] * 4
    assert runs_of(cli, out) == told["runs"]
    assert len({row["validation_loss"] for row in told["runs"]}) == 4
    assert [Path(row["path"]).name for row in told["runs"]] == [
        "000-muon_lr=0.001,seed=1",
        "001-muon_lr=0.001,seed=2",
        "002-muon_lr=0.05,seed=1",
        "003-muon_lr=0.05,seed=2",
    ]
    settings = [part for part in small if "vocab_size" not in part]
    settings = settings[1:] if settings[0] == settings[1] else settings
    one = ["--set", "optimizer.muon_lr=0.05", "--set", "run.seed=1"]
    cli("train", out / "corpus", "--out", tmp_path / "alone", *settings, *SHORT, *one)
    # The sums of one thread and of two differ in their last bits.
    assert losses(tmp_path / "alone") == pytest.approx(
        losses(out / "002-muon_lr=0.05,seed=1"), rel=1e-3
    )


def test_a_sweep_on_a_ray_of_this_machine_says_which_run_failed(
    cli: Cli, texts: Path, small: list[str], tmp_path: Path
) -> None:
    out = tmp_path / "sweep"
    (out / "001-weight_decay=0.1").mkdir(parents=True)
    (out / "001-weight_decay=0.1" / "run.json").write_text("{}")
    done = cli(
        "sweep", texts, "--out", out, "--over", "optimizer.weight_decay=0,0.1", *small, *SHORT
    )
    assert "001-weight_decay=0.1: holds a run already" in done.stderr
    assert "Traceback" not in done.stderr
    assert "000-weight_decay=0" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--over", "optimizer.lr=1,2"], 2, "unknown setting 'optimizer.lr'"),
        (["--over", "optimizer.muon_lr=1,200"], 4, "optimizer.muon_lr=200: "),
        (["--over", "run.seed=1,2", "--threads", "99"], 8, "no machine of the cluster has more"),
        (["--over", "run.seed=1", "--cluster", "ray://127.0.0.1:1"], 2, "no Ray cluster answers"),
    ],
)
def test_what_cannot_be_tried_is_refused_before_any_run(
    cli: Cli, texts: Path, tmp_path: Path, arguments: list[str], code: int, message: str
) -> None:
    done = cli("sweep", texts, "--out", tmp_path / "sweep", *arguments, code=code)
    assert message in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
