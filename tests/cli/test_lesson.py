"""``ingot lesson`` and ``ingot compare`` as a user types them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Cli = Callable[..., subprocess.CompletedProcess[str]]


def test_a_lesson_whose_input_ends_says_so(cli: Cli) -> None:
    done = cli("lesson", code=2, stdin="")
    assert "Training against inference" in done.stdout
    assert done.stderr.startswith("error: lesson: there is no more input")
    assert "ingot lesson --no-input" in done.stderr


def test_compare_prints_and_writes_the_table(
    here: Cli, trained: Path, sealed: Path, tmp_path: Path
) -> None:
    done = here("compare", trained, sealed, "--out", tmp_path / "table", "--json")
    measured = json.loads(done.stdout)
    assert measured["inference_digests"][0] == measured["inference_digests"][1]
    assert {path.name for path in tmp_path.iterdir()} == {"table.html", "table.png"}


def test_compare_refuses_what_is_no_run(
    here: Cli, sealed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = here("compare", tmp_path, sealed, code=5)
    assert "is not a run" in done.stderr
    assert list(tmp_path.iterdir()) == []
