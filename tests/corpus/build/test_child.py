"""Work in a child process."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from ingot.corpus.build.child import run_in_child
from ingot.errors import ResourceError

HEAD = "from ingot.corpus.build.child import serve\n"


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module to fill in; its file is ``module.py``."""
    monkeypatch.syspath_prepend(str(tmp_path))
    return "module"


def write(tmp_path: Path, text: str) -> None:
    (tmp_path / "module.py").write_text(HEAD + text)


def children() -> list[int]:
    path = Path(f"/proc/self/task/{os.getpid()}/children")
    return [int(pid) for pid in path.read_text().split()]


def test_blobs_go_in_and_progress_and_a_result_come_out(tmp_path: Path, module: str) -> None:
    write(
        tmp_path,
        "def work(blobs, report):\n"
        "    for number, blob in enumerate(blobs, 1): report(number, len(blobs))\n"
        "    return [blob.decode() for blob in blobs]\n"
        "serve(work)\n",
    )
    events: list[tuple[int, int]] = []
    blobs = [b"one", b"", "drei ß".encode(), b"x" * 1_000_000]
    result = run_in_child(module, blobs, "it", lambda done, total: events.append((done, total)))
    assert result == [blob.decode() for blob in blobs]
    assert events == [(1, 4), (2, 4), (3, 4), (4, 4)]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)\n", "by signal 9"),
        ("serve(lambda blobs, report: 1 / 0)\n", "ZeroDivisionError: division by zero"),
        ("import sys; sys.exit(3)\n", "with code 3"),
        ("import module_that_is_missing\n", "No module named 'module_that_is_missing'"),
    ],
)
def test_a_child_that_dies_is_an_error(tmp_path: Path, module: str, text: str, reason: str) -> None:
    write(tmp_path, text)
    with pytest.raises(ResourceError, match=rf"it: the process that does it died \(.*{reason}"):
        run_in_child(module, [b"x" * 1_000_000], "it")


def test_an_exception_in_the_parent_ends_the_child(tmp_path: Path, module: str) -> None:
    """FAULTS D4: what a library computes in native code is ended, not waited for."""
    write(
        tmp_path,
        "import signal\n"
        "def work(blobs, report):\n"
        "    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())\n"
        "    report(0, 1)\n"
        "    while True: pass\n"
        "serve(work)\n",
    )
    before = set(children())  # of other tests
    seen: set[int] = set()

    def stop(done: int, total: int) -> None:
        seen.update(set(children()) - before)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_in_child(module, [], "it", stop)
    assert seen
    assert not seen & set(children())


def test_nothing_is_imported_from_the_current_folder(
    tmp_path: Path, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "import json\nserve(lambda blobs, report: json.__file__)\n")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "json.py").write_text("raise SystemExit('imported from the current folder')")
    monkeypatch.chdir(elsewhere)
    handler = signal.getsignal(signal.SIGINT)
    assert Path(run_in_child(module, [], "it")).is_relative_to(sys.base_prefix)
    assert signal.getsignal(signal.SIGINT) is handler
