from __future__ import annotations

from pathlib import Path

import pytest

from ingot.corpus.staging import refuse_occupied, staged_folder
from ingot.errors import CorpusError


def test_the_folder_appears_whole_at_the_end(tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    with staged_folder(out) as folder:
        (folder / "a").write_text("a")
        assert not out.exists()
    assert (out / "a").read_text() == "a"
    assert [path.name for path in out.parent.iterdir()] == ["out"]
    assert out.stat().st_mode & 0o777 == 0o755


def test_an_empty_folder_is_replaced(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    refuse_occupied(out)
    with staged_folder(out) as folder:
        (folder / "a").write_text("a")
    assert [path.name for path in out.iterdir()] == ["a"]


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> None:
        with staged_folder(tmp_path / "out") as folder:
            (folder / "a").write_text("a")
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        fail()
    assert [path.name for path in tmp_path.iterdir()] == []


def test_a_folder_filled_meanwhile_is_left_alone(tmp_path: Path) -> None:
    out = tmp_path / "out"

    def lose_the_race() -> None:
        with staged_folder(out):
            out.mkdir()
            (out / "theirs").write_text("theirs")

    with pytest.raises(CorpusError, match="out: was filled by something else meanwhile"):
        lose_the_race()
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "theirs"]


def test_files_and_links_are_occupied(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("file", "link"):
        with pytest.raises(CorpusError, match=f"{name}: exists already"):
            refuse_occupied(tmp_path / name)
