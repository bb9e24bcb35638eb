"""Batches through crashes: each request has one result, whatever happens when."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("every", [6, pytest.param(1, marks=pytest.mark.long)])
def test_a_crash_at_any_operation_on_the_disk_loses_and_doubles_nothing(
    tmp_path: Path, every: int
) -> None:
    script, folder = "tests.server.batches.crash_points", str(tmp_path / "batches")
    done = subprocess.run(
        [sys.executable, "-m", script, folder, str(every)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 15, "operations of one batch"
