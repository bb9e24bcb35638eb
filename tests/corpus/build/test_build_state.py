from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from ingot.corpus.build.build_state import BuildState
from ingot.errors import CorpusError, ResourceError


def test_values_come_back_and_what_is_not_committed_does_not(tmp_path: Path) -> None:
    path = tmp_path / "state"
    with BuildState(path) as state:
        assert state.get("a") is None
        state.put("a", {"list": [1, "x", None]})
        state.commit()
        state.put("a", "later")
        assert state.get("a") == "later"
    with BuildState(path) as state:
        assert state.get("a") == {"list": [1, "x", None]}


def fill(state: BuildState) -> None:
    for number in range(10_000):
        state.put(str(number), number)


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    for path, fix in ((None, "or set TMPDIR"), (tmp_path / "state", "and run again")):
        with BuildState(path) as state:
            state.run("PRAGMA max_page_count = 6")
            with pytest.raises(ResourceError, match=f": .*full.*; free some space {fix}") as caught:
                fill(state)
        assert isinstance(caught.value.__cause__, sqlite3.OperationalError)
        assert str(caught.value).startswith(str(path or "temporary folder"))


def test_a_file_that_is_not_a_build_state_is_named(tmp_path: Path) -> None:
    (tmp_path / "state").write_bytes(b"not a database " * 1000)
    with pytest.raises(CorpusError, match=r"state: is damaged .*run the same command again"):
        BuildState(tmp_path / "state")
