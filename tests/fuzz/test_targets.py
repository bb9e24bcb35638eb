"""A short slice of every fuzzing target; ``make fuzz`` runs them for as long as one likes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.harness import TARGETS, fuzz


@pytest.mark.parametrize("path", sorted(TARGETS.glob("*.py")), ids=lambda path: path.stem)
def test_a_slice(path: Path) -> None:
    report = fuzz(path, seed=1, seconds=0.5, count=100)
    assert not report.failures, str(report)
