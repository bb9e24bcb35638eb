from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from ingot.corpus.build.build_state import Journal
from ingot.errors import CorpusError, ResourceError


def test_values_come_back_and_what_is_not_committed_does_not(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    with Journal(path) as journal:
        assert journal.get("a") is None
        journal.put("a", {"list": [1, "x", None]})
        journal.commit()
        journal.put("a", "later")
        assert journal.get("a") == "later"
    with Journal(path) as journal:
        assert journal.get("a") == {"list": [1, "x", None]}


def fill(journal: Journal) -> None:
    for number in range(10_000):
        journal.put(str(number), number)


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    for path, fix in ((None, "or set TMPDIR"), (tmp_path / "journal", "and run again")):
        with Journal(path) as journal:
            journal.run("PRAGMA max_page_count = 6")
            with pytest.raises(ResourceError, match=f": .*full.*; free some space {fix}") as caught:
                fill(journal)
        assert isinstance(caught.value.__cause__, sqlite3.OperationalError)
        assert str(caught.value).startswith(str(path or "temporary folder"))


def test_a_file_that_is_no_journal_is_named(tmp_path: Path) -> None:
    (tmp_path / "journal").write_bytes(b"not a database " * 1000)
    with pytest.raises(CorpusError, match=r"journal: is damaged .*run the same command again"):
        Journal(tmp_path / "journal")
