"""Signals at each stage of a real training: exit code 130, and what was kept."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ingot.training.run_folder import checkpoint
from tests.conftest import Cli

SLOW_SCORE = ("--set", "run.evaluation_overlap=0.995")  # the held-out text 200 times over


@contextmanager
def started(*arguments: str | Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "ingot", *map(str, arguments)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for(process: subprocess.Popen[str], reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 300
    while not reached():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "the stage was not reached"
        time.sleep(0.005)


def stop(process: subprocess.Popen[str], number: signal.Signals = signal.SIGINT) -> str:
    """Send a signal; return the last line that the process wrote, its exit code being 130."""
    process.send_signal(number)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 130, said
    return said.strip().splitlines()[-1]


def events(run: Path, kind: str) -> list[dict[str, object]]:
    path = run / "metrics.jsonl"
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    found = [json.loads(line) for line in lines if line.endswith("\n")]
    return [event for event in found if event["event"] == kind]


def test_in_set_up(texts: Path, small: list[str], tmp_path: Path) -> None:
    """FAULTS D4: nothing is left of a run that had not begun."""
    run = tmp_path / "runs" / "new"
    with started("train", texts, "--out", run, "--budget", "60s", *small) as process:
        wait_for(process, (run / ".lock").exists)
        assert "stopped before anything was kept" in stop(process, signal.SIGTERM)
    assert not (run / "run.json").exists()


def test_before_the_first_update(texts: Path, small: list[str], tmp_path: Path) -> None:
    """FAULTS D4: weights are being prepared, and the run is there to be resumed."""
    run = tmp_path / "run"
    slow = (
        "--set",
        "run.steps=5",
        "--set",
        "corpus.vocab_size=4000",
        "--set",
        "model.hidden_size=512",
    )
    with started("train", texts, "--out", run, *small, *slow) as process:
        wait_for(process, (run / "run.json").exists)
        assert f"stopped before the first checkpoint; continue with: ingot resume {run}" in stop(
            process
        )
    assert not checkpoint.folders(run)


def test_in_an_evaluation(texts: Path, small: list[str], tmp_path: Path, here: Cli) -> None:
    """FAULTS D4: an evaluation is left, and the updates before it are kept."""
    run = tmp_path / "run"
    with started(
        "train", texts, "--out", run, *small, "--set", "run.steps=3", *SLOW_SCORE
    ) as process:
        wait_for(process, lambda: len(events(run, "stepped")) == 3)
        assert "stopped after 3 updates, checkpoint written" in stop(process)
    assert not checkpoint.read_state(checkpoint.latest(run)).finished
    done = here("resume", run, "--set", "run.evaluation_overlap=0.5", "--accept-changes", "--json")
    assert json.loads(done.stdout)["steps"] == 3
    assert checkpoint.read_state(checkpoint.latest(run)).finished


def test_while_a_checkpoint_is_written(texts: Path, small: list[str], tmp_path: Path) -> None:
    """FAULTS D4: it is finished, and the one after the current update too."""
    run = tmp_path / "run"
    length = ("--set", "run.steps=200000", "--set", "run.evaluations=20000")
    with started("train", texts, "--out", run, *small, *length) as process:
        drafts = (run / "checkpoints").glob
        wait_for(process, lambda: any(drafts(".draft-*")))
        said = stop(process, signal.SIGTERM)
    made = checkpoint.step_of(checkpoint.latest(run))
    assert f"stopped after {made} updates, checkpoint written" in said
    assert not any(drafts(".draft-*"))
    assert events(run, "stepped")[-1]["step"] == made


def test_while_weights_are_calibrated(
    texts: Path, small: list[str], tmp_path: Path, here: Cli
) -> None:
    """FAULTS D4: nothing is written; and the same while PyTorch is imported."""
    run, out = tmp_path / "run", tmp_path / "q.ingot"
    wide = ("--set", "model.hidden_size=768", "--set", "model.intermediate_size=2048")
    here(
        "train",
        texts / "00.py",
        "--out",
        run,
        *small,
        *wide,
        "--set",
        "run.steps=1",
        "--set",
        "run.warm_start=false",
    )
    with started("freeze", run, "--out", out, "--quantize", "int8") as process:
        maps = Path(f"/proc/{process.pid}/maps")
        wait_for(process, lambda: "libtorch_cpu" in maps.read_text())
        assert "stopped" in stop(process, signal.SIGTERM)
    with started("freeze", run, "--out", out, "--quantize", "int8") as process:
        maps = Path(f"/proc/{process.pid}/maps")
        wait_for(process, lambda: str(run) in maps.read_text())  # the checkpoint is mapped
        assert f"{out}: stopped; nothing was written" in stop(process, signal.SIGTERM)
    assert not out.exists()


def test_in_a_comparison(trained: Path, sealed: Path, tmp_path: Path) -> None:
    """FAULTS D4: a comparison that is stopped says that nothing was written."""
    out = tmp_path / "phases"
    with started("compare", trained, sealed, "--out", out) as process:
        wait_for(process, lambda: "torch" in _loaded(process.pid))
        said = stop(process)
    assert said == f"error: {out}: stopped; nothing was written; run the same command again"
    assert list(tmp_path.glob("phases*")) == []


def test_in_the_lesson(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """FAULTS D4, E8: a lesson that is stopped says so."""
    monkeypatch.setenv("HOME", str(tmp_path))
    with started("lesson", "--no-input") as process:
        wait_for(process, lambda: "torch" in _loaded(process.pid))
        said = stop(process)
    assert said == "error: the lesson: stopped; nothing was kept; it begins again"


def _loaded(pid: int) -> str:
    """Return the libraries that a process has mapped."""
    return Path(f"/proc/{pid}/maps").read_text()
