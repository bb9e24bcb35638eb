"""The harness itself: each kind of failure is seen, and inputs are the same in every run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.harness import fuzz, main

TARGET = """
import os, signal, time
from ingot.errors import ArtifactError

def examples():
    return [b"sound"]

def make(random):
    return b"input %d" % random.randrange(10**9)

def attempt(data):
    if data != b"sound":
        {deed}
"""


def target(folder: Path, deed: str) -> Path:
    path = folder / "written_by_a_test.py"
    path.write_text(TARGET.replace("{deed}", deed))
    return path


@pytest.mark.parametrize(
    ("deed", "reason"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", "SIGSEGV"),
        ("while True: pass", "processor time"),
        ("(b'x' * (100 << 20)).count(b'y')", "MB of memory"),
        ("b'x' * (4 << 30)", "MemoryError"),
        ("raise KeyError('x')", "KeyError"),
        ("raise ArtifactError('a' * 5000)", "not one short line"),
        ("raise SystemExit(3)", "SystemExit"),
        ("os._exit(3)", "exit code 3"),
    ],
)
def test_each_kind_of_failure_is_seen(tmp_path: Path, deed: str, reason: str) -> None:
    report = fuzz(target(tmp_path, deed), seed=5, seconds=600, count=1)
    assert report.outcomes == {"failed": 1}
    assert reason in str(report)
    assert "--seed 5 --only 0" in str(report)


def test_refusals_and_acceptance_are_counted(tmp_path: Path) -> None:
    path = target(tmp_path, "if data[-1] % 2: raise ArtifactError('odd', where='input')")
    first = fuzz(path, seed=1, seconds=600, count=40)
    assert not first.failures
    assert first.outcomes["accepted"] + first.outcomes["refused"] == 40
    assert min(first.outcomes.values()) > 5
    assert fuzz(path, seed=1, seconds=600, count=40).outcomes == first.outcomes


def test_a_failure_does_not_end_the_rest(tmp_path: Path) -> None:
    path = target(tmp_path, "if data[-1] % 2: os.abort()")
    report = fuzz(path, seed=1, seconds=600, count=12)
    assert report.outcomes.total() == 12
    assert {"accepted", "failed"} <= report.outcomes.keys()
    again = fuzz(path, seed=1, seconds=600, only=report.failures[0].number)
    assert [failure.number for failure in again.failures] == [report.failures[0].number]


def test_an_example_that_is_refused_is_a_failure(tmp_path: Path) -> None:
    path = target(tmp_path, "pass")
    path.write_text(path.read_text().replace("!= b", "== b").replace("pass", "raise KeyError"))
    assert "an example is" in str(fuzz(path, seed=1, seconds=600, count=1))


def test_the_command_names_what_failed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seconds", "0", "--seed", "3", "strict_json"]) == 0
    assert capsys.readouterr().out.startswith("strict_json: 1 ")
