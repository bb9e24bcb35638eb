from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingot.errors import TrainingError
from ingot.training.run_folder import checkpoint, checkpoint_tensors
from ingot.training.run_folder.run_state import RunState

WEIGHTS = {"a.weight": torch.arange(12.0).reshape(3, 4), "b.weight": torch.ones(2)}
MOMENTS = {"step.a.weight": torch.tensor(3.0), "exp_avg.a.weight": torch.full((3, 4), 0.5)}


def save(run: Path, step: int, **state: object) -> Path:
    return checkpoint_tensors.save(run, RunState(step=step, **state), WEIGHTS, MOMENTS)  # type: ignore[arg-type]


def test_what_is_saved_is_read_back(tmp_path: Path) -> None:
    folder = save(tmp_path, 7, tokens=99, sampler={"epoch": 1}, training_loss=2.5)
    state = checkpoint.read_state(folder)
    assert (state.step, state.tokens, state.sampler, state.training_loss) == (
        7,
        99,
        {"epoch": 1},
        2.5,
    )
    for expected, read in (
        (WEIGHTS, checkpoint_tensors.read_weights(folder)),
        (MOMENTS, checkpoint_tensors.read_optimizer(folder)),
    ):
        assert read.keys() == expected.keys()
        assert all(torch.equal(read[name], expected[name]) for name in expected)


def test_what_was_hashed_is_what_is_read(tmp_path: Path) -> None:
    """FAULTS B3: a file was hashed, then read again: an edit between went unnoticed."""
    folder = save(tmp_path, 7)
    path = folder / checkpoint.MODEL
    whole = path.read_bytes()
    stop = threading.Event()

    def edit() -> None:
        with path.open("r+b") as file:
            while not stop.is_set():
                for byte in (whole[-1] ^ 0x40, whole[-1]):
                    file.seek(-1, os.SEEK_END)
                    file.write(bytes([byte]))
                    file.flush()

    writer = threading.Thread(target=edit)
    writer.start()
    try:
        for _ in range(200):
            with contextlib.suppress(TrainingError):
                read = checkpoint_tensors.read_weights(folder)
                assert all(torch.equal(read[name], WEIGHTS[name]) for name in WEIGHTS)
    finally:
        stop.set()
        writer.join()


def test_the_latest_and_the_best_survive_pruning(tmp_path: Path) -> None:
    for step in (1, 2, 3, 4, 5):
        save(tmp_path, step, best_step=2)
    checkpoint.prune(tmp_path, keep=2, best_step=2)
    kept = [checkpoint.read_state(folder).step for folder in checkpoint.folders(tmp_path)]
    assert kept == [2, 4, 5]
    assert checkpoint.latest(tmp_path).name == "step-00000005"
    assert checkpoint.best(tmp_path).name == "step-00000002"


def test_a_run_without_checkpoints_says_so(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="has no checkpoint"):
        checkpoint.latest(tmp_path)


def test_half_a_checkpoint_is_never_taken_for_one(tmp_path: Path) -> None:
    save(tmp_path, 1)
    draft = tmp_path / "checkpoints" / ".draft-00000002"
    draft.mkdir()
    (draft / checkpoint.MODEL).write_bytes(b"half")
    assert checkpoint.latest(tmp_path).name == "step-00000001"
    assert save(tmp_path, 2).name == "step-00000002"  # and the leftovers are in nobody's way


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_a_damaged_file_is_refused_by_name(tmp_path: Path, data: st.DataObject) -> None:
    folder = save(tmp_path, 1)
    name = data.draw(st.sampled_from([checkpoint.MODEL, checkpoint.OPTIMIZER]))
    path = folder / name
    content = bytearray(path.read_bytes())
    index = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content[index] ^= 1 << data.draw(st.integers(0, 7))
    else:
        del content[index:]
    path.write_bytes(content)
    read = (
        checkpoint_tensors.read_weights
        if name == checkpoint.MODEL
        else checkpoint_tensors.read_optimizer
    )
    with pytest.raises(TrainingError) as caught:
        read(folder)
    assert name in str(caught.value)


def test_a_damaged_or_missing_state_is_refused_by_name(tmp_path: Path) -> None:
    folder = save(tmp_path, 1)
    path = folder / checkpoint.STATE
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(TrainingError, match="is damaged"):
        checkpoint.read_state(folder)
    path.unlink()
    with pytest.raises(TrainingError, match="cannot be read"):
        checkpoint.read_state(folder)


def test_a_disk_that_fills_up_costs_nothing_that_was_saved(tmp_path: Path) -> None:
    """A real limit on what the process may write stands in for the full disk."""
    save(tmp_path, 1)
    script = (
        "import errno, resource, signal, sys, torch\n"
        "from pathlib import Path\n"
        "from ingot.errors import ResourceError\n"
        "from ingot.training.run_folder import checkpoint_tensors\n"
        "from ingot.training.run_folder.run_state import RunState\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "state = RunState(step=2)\n"
        "try:\n"
        "    checkpoint_tensors.save(Path(sys.argv[1]), state, {'w': torch.ones(100_000)}, {})\n"
        "except ResourceError as error:\n"
        "    sys.exit(42)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], check=False, timeout=300, capture_output=True
    )
    assert done.returncode == 42, done.stderr.decode()
    assert [folder.name for folder in checkpoint.folders(tmp_path)] == ["step-00000001"]
    assert not list((tmp_path / "checkpoints").glob(".draft-*"))
    checkpoint_tensors.read_weights(checkpoint.latest(tmp_path))


def test_what_a_killed_process_left_is_swept_away(tmp_path: Path) -> None:
    folder = save(tmp_path, 1)
    for name in (".draft-00000002", ".doomed-step-00000000"):
        shutil.copytree(folder, folder.with_name(name))
    checkpoint.sweep(tmp_path)
    assert list((tmp_path / "checkpoints").iterdir()) == [folder]
    checkpoint.sweep(tmp_path / "none")


@pytest.mark.parametrize("crash", ["before", "after"])
def test_the_only_checkpoint_survives_a_crash_while_it_is_replaced(
    tmp_path: Path, crash: str
) -> None:
    """FAULTS D1: what is replaced goes after what replaces it is there."""
    folder = save(tmp_path, 1, tokens=10)
    shutil.copytree(folder, folder.with_name(".replaced-step-00000001"))
    if crash == "before":  # the new one had no name yet
        shutil.rmtree(folder)
    else:
        save(tmp_path, 1, tokens=20)
        shutil.copytree(folder, folder.with_name(".replaced-step-00000001"))
    checkpoint.sweep(tmp_path)
    assert list((tmp_path / "checkpoints").iterdir()) == [folder]
    assert checkpoint.read_state(folder).tokens == (10 if crash == "before" else 20)


def test_a_checkpoint_is_replaced_by_another_of_its_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = save(tmp_path, 1, tokens=10)
    rename, seen = Path.rename, []

    def watch(path: Path, target: Path) -> Path:
        seen.append(sorted(each.name for each in folder.parent.iterdir()))
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", watch)
    save(tmp_path, 1, tokens=20)
    assert seen[-1] == [".draft-00000001", ".replaced-step-00000001"]  # each of them is whole
    assert list(folder.parent.iterdir()) == [folder]
    assert checkpoint.read_state(folder).tokens == 20


def test_only_checkpoints_are_taken_for_some_and_in_order_of_their_steps(tmp_path: Path) -> None:
    for step in (99_999_999, 100_000_000, 7):
        save(tmp_path, step)
    for name in (
        "step-",
        "step-abc",
        "step-\u0661\u0661\u0661\u0661\u0661\u0661\u0661\u0661",
        "step-1" + "0" * 99,
    ):
        (tmp_path / "checkpoints" / name).mkdir()
    found = checkpoint.folders(tmp_path)
    assert [checkpoint.step_of(folder) for folder in found] == [7, 99_999_999, 100_000_000]


def test_pipes_in_a_checkpoint_are_refused_at_once(tmp_path: Path) -> None:
    """FAULTS B4: opening a pipe would wait for a writer."""
    for name, read in (
        (checkpoint.MODEL, checkpoint_tensors.read_weights),
        (checkpoint.OPTIMIZER, checkpoint_tensors.read_optimizer),
        (checkpoint.STATE, checkpoint.read_state),
    ):
        folder = save(tmp_path, 1)
        (folder / name).unlink()
        os.mkfifo(folder / name)
        with pytest.raises(TrainingError, match="is not a regular file"):
            read(folder)  # type: ignore[operator]


@pytest.mark.parametrize(
    "values",
    [
        {"step": 10**30},
        {"step": -1},
        {"best_step": 10**300},
        {"elapsed": 1e999},
        {"sampler": {"position": "x"}},
        {"recipe": [1]},
        {"more": 1},
    ],
)
def test_counters_beyond_reason_are_damage(tmp_path: Path, values: dict[str, object]) -> None:
    """FAULTS B5: numbers and shapes that no run writes."""
    folder = save(tmp_path, 1)
    path = folder / checkpoint.STATE
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    with pytest.raises(TrainingError, match="is damaged"):
        checkpoint.read_state(folder)
