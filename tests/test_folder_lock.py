"""One writer per folder, tried with real processes."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ingot.errors import ResourceError, TrainingError
from ingot.folder_lock import LOCK, file_locked, folder_locked, holder

HOLD = """
import os, signal, sys
from pathlib import Path
from ingot.errors import TrainingError
from ingot.folder_lock import folder_locked
with folder_locked(Path(sys.argv[1]), TrainingError, "is being trained"):
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, b".")
        signal.pause()
    os.read(read, 1)  # the child runs
    print(child, flush=True)
    sys.stdin.read()
    os.kill(child, signal.SIGKILL)
"""


@contextmanager
def held(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lock, and a forked child of it that outlives it."""
    command = [sys.executable, "-c", HOLD, str(folder)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        try:
            yield process
        finally:
            process.kill()
            os.kill(child, signal.SIGKILL)


def test_a_second_writer_is_refused_and_told_who_the_first_is(tmp_path: Path) -> None:
    """FAULTS D3: one writer per folder; the refusal names the process."""
    with held(tmp_path / "run") as process:
        with (
            pytest.raises(TrainingError) as refused,
            folder_locked(tmp_path / "run", TrainingError, "is being trained"),
        ):
            pass
        named = f"is being trained by process {process.pid} on {socket.gethostname()} since "
        assert named in str(refused.value)
        assert str(tmp_path / "run") in str(refused.value)


def test_a_killed_holder_blocks_nobody(tmp_path: Path) -> None:
    """FAULTS D3: what a killed process leaves behind, file and forked children, is not a lock."""
    with held(tmp_path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert (tmp_path / LOCK).exists()
        with folder_locked(tmp_path, TrainingError, "is being trained"):
            assert json.loads((tmp_path / LOCK).read_bytes())["pid"] == os.getpid()


def test_the_same_process_cannot_lock_twice_either(tmp_path: Path) -> None:
    with (
        folder_locked(tmp_path, TrainingError, "is being trained"),
        pytest.raises(TrainingError, match=f"process {os.getpid()}"),
        folder_locked(tmp_path, TrainingError, "is being trained"),
    ):
        pass


def test_what_was_made_and_left_empty_is_removed(tmp_path: Path) -> None:
    with folder_locked(tmp_path / "runs" / "new", TrainingError, "is being trained"):
        assert (tmp_path / "runs" / "new" / LOCK).is_file()
    assert list(tmp_path.iterdir()) == []
    with folder_locked(tmp_path / "runs" / "new", TrainingError, "is being trained"):
        (tmp_path / "runs" / "new" / "kept").touch()
    assert [path.name for path in (tmp_path / "runs" / "new").iterdir()] == ["kept"]


def test_a_folder_that_was_there_stays(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with folder_locked(tmp_path / "empty", TrainingError, "is being trained"):
        pass
    assert (tmp_path / "empty").is_dir()
    assert list((tmp_path / "empty").iterdir()) == []


def test_a_lock_that_its_holder_removes_meanwhile_is_taken_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who locks a file that has been removed would be alone with a lock that nobody sees."""
    path = tmp_path / LOCK
    real, removed = os.open, []

    def remove_once(*arguments: object, **named: object) -> int:
        handle = real(*arguments, **named)  # type: ignore[arg-type]
        if not removed:
            removed.append(path.stat().st_ino)
            path.unlink()
        return handle

    monkeypatch.setattr(os, "open", remove_once)
    with file_locked(path, TrainingError, "is being written"):
        assert path.exists()
        with (
            pytest.raises(TrainingError),
            file_locked(path, TrainingError, "is being written"),
        ):
            pass
    assert not path.exists()


@pytest.mark.parametrize(
    "content",
    [b"", b"[" * 5000, b"{}", b"[1]", b'{"pid": "x", "host": "h", "started": "s"}', b"\xff"],
)
def test_any_content_of_the_file_is_survived(tmp_path: Path, content: bytes) -> None:
    (tmp_path / LOCK).write_bytes(content)
    assert holder(tmp_path / LOCK) == "another process"


def test_what_the_file_says_is_shown_without_control_characters(tmp_path: Path) -> None:
    said = {"pid": 7, "host": "h\x1b[2J" + "x" * 200, "started": "now"}
    (tmp_path / LOCK).write_text(json.dumps(said))
    shown = holder(tmp_path / LOCK)
    assert shown.startswith("process 7 on h[2Jx")
    assert shown.isprintable()
    assert len(shown) < 150


def test_a_pipe_or_a_link_in_its_place_is_refused(tmp_path: Path) -> None:
    """FAULTS B4: nothing waits for a pipe."""
    os.mkfifo(tmp_path / LOCK)
    with (
        pytest.raises(ResourceError, match="regular file"),
        folder_locked(tmp_path, TrainingError, "is being trained"),
    ):
        pass
    (tmp_path / LOCK).unlink()
    (tmp_path / LOCK).symlink_to(tmp_path / "target")
    with (
        pytest.raises(ResourceError),
        folder_locked(tmp_path, TrainingError, "is being trained"),
    ):
        pass
    assert not (tmp_path / "target").exists()


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(ResourceError, match="cannot be made"),
        folder_locked(tmp_path / "file" / "run", TrainingError, "is being trained"),
    ):
        pass
