"""``ingot train --nodes``: the same losses as one process, through killed workers as well."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ingot.cluster import torchrun
from ingot.cluster.job import new_job
from ingot.errors import IngotError, RecipeError, ResourceError, TrainingError, UsageError
from ingot.folder_lock import LOCK

Cli = Callable[..., subprocess.CompletedProcess[str]]
Wait = Callable[[Callable[[], bool]], None]
LENGTH = ["--set", "run.steps=100", "--set", "run.evaluations=5", "--set", "run.samples=0"]
EXACT = ["--set", "run.precision=float32"]


def losses(run: Path) -> list[float]:
    records = map(json.loads, (run / "metrics.jsonl").read_bytes().splitlines())
    return [record["loss"] for record in records if record["event"] == "stepped"]


def last_weights(run: Path) -> bytes:
    return (run / "checkpoints" / "step-00000100" / "model.safetensors").read_bytes()


def started(*arguments: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "ingot", *map(str, arguments)],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"COLUMNS": "120"},
    )


def has_a_checkpoint(run: Path) -> bool:
    """Whether updates would be lost with a worker, and not all of them."""
    return any((run / "checkpoints").glob("step-*/state.json")) and len(losses(run)) < 80


def workers_of(process: subprocess.Popen[str]) -> list[int]:
    return [
        int(pid)
        for task in Path(f"/proc/{process.pid}/task").iterdir()
        for pid in (task / "children").read_text().split()
        if b"ingot.cluster.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]


@pytest.fixture(scope="module")
def uninterrupted(
    cli: Cli, texts: Path, small: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A run in two workers."""
    run = tmp_path_factory.mktemp("uninterrupted") / "run"
    cli("train", texts, "--out", run, "--nodes", "2", *small, *LENGTH, *EXACT)
    return run


def test_two_workers_make_the_losses_of_one_process(
    cli: Cli, texts: Path, small: list[str], uninterrupted: Path, tmp_path: Path
) -> None:
    cli("train", texts, "--out", tmp_path / "alone", *small, *LENGTH, *EXACT)
    assert losses(uninterrupted) == pytest.approx(losses(tmp_path / "alone"), rel=0.05)
    assert losses(uninterrupted)[:20] == pytest.approx(losses(tmp_path / "alone")[:20], rel=1e-5)
    done = cli("runs", uninterrupted, "--json")
    assert json.loads(done.stdout)[0]["status"] == "finished"
    assert not (uninterrupted / ".job").exists()


@pytest.mark.parametrize("rank", [0, pytest.param(1, marks=pytest.mark.long)])
def test_a_killed_worker_is_replaced_and_changes_no_loss(
    texts: Path, small: list[str], uninterrupted: Path, tmp_path: Path, wait_until: Wait, rank: int
) -> None:
    run = tmp_path / "run"
    process = started("train", texts, "--out", run, "--nodes", "2", *small, *LENGTH, *EXACT)
    wait_until(lambda: process.poll() is not None or has_a_checkpoint(run))
    main = json.loads((run / LOCK).read_text())["pid"]
    (killed,) = [pid for pid in workers_of(process) if (pid == main) == (rank == 0)]
    os.kill(killed, signal.SIGKILL)
    _, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
    assert losses(run) == losses(uninterrupted)
    assert last_weights(run) == last_weights(uninterrupted)


@pytest.mark.long
def test_ctrl_c_leaves_a_checkpoint(
    texts: Path, small: list[str], tmp_path: Path, wait_until: Wait
) -> None:
    run = tmp_path / "run"
    process = started("train", texts, "--out", run, "--nodes", "2", *small, *LENGTH)
    wait_until(lambda: process.poll() is not None or has_a_checkpoint(run))
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=200)
    assert process.returncode == 130, errors
    assert errors.splitlines()[-1].endswith(f"continue with: ingot resume {run}")


@pytest.mark.long
def test_machines_that_meet_train_together(texts: Path, small: list[str], tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("localhost", 0))
        port = taken.getsockname()[1]
    command = ["train", texts, "--out", tmp_path / "run", "--nodes", "2", *small]
    command += ["--rendezvous", f"localhost:{port}", "--set", "run.steps=5", "--json"]
    both = [started(*command), started(*command)]
    told = [process.communicate(timeout=200) for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    first, second = (json.loads(out) for out, _ in told)
    assert first == second
    assert first["steps"] == 5


def test_a_machine_that_nobody_meets_stops_waiting(
    texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torchrun, "_MEET_S", 3)
    with pytest.raises(TrainingError, match="2 machines did not meet within 3 s; run the same"):
        torchrun.train(new_job([texts], tmp_path / "run"), 2, "localhost:0")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("texts_named", "nodes", "setting", "kind", "message"),
    [
        ("-", 2, "run.steps=2", UsageError, "cannot be read by several workers"),
        ("t", 4096, "run.steps=2", ResourceError, "asks for 4096 workers, and this machine has"),
        ("t", 2, "run.stepps=2", RecipeError, "steps"),
        pytest.param(
            *("absent", 2, "run.steps=2", IngotError, "absent: does not exist; check the path"),
            marks=pytest.mark.long,
        ),
    ],
)
def test_what_cannot_be_trained_is_refused_in_one_line(
    tmp_path: Path, texts_named: str, nodes: int, setting: str, kind: type[IngotError], message: str
) -> None:
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "text.txt").write_text("one two three\n" * 2000)
    named = Path(texts_named) if texts_named == "-" else tmp_path / texts_named
    with pytest.raises(kind, match=message) as raised:
        torchrun.train(new_job([named], tmp_path / "run", settings=(setting,)), nodes)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.long
def test_a_run_that_is_there_is_refused_and_left(uninterrupted: Path, texts: Path) -> None:
    before = losses(uninterrupted)
    with pytest.raises(TrainingError, match="holds a run already; resume it with"):
        torchrun.train(new_job([texts], uninterrupted), 2)
    assert losses(uninterrupted) == before
