from __future__ import annotations

import contextlib
import fcntl
import os
import time
from pathlib import Path

import pytest

from ingot.corpus.build.staging import refuse_occupied, staging_dir
from ingot.errors import CorpusError


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def leave_behind(out: Path) -> None:
    """Stop half way with something worth keeping, as a kill would."""
    with contextlib.suppress(KeyboardInterrupt), staging_dir(out) as staging:
        (staging.result / "half").write_text("half")
        (staging.result / ".corpus.json.x7").write_text("a file that was being replaced")
        staging.state_file.write_text("journal")
        staging.keep = True
        raise KeyboardInterrupt


def test_the_folder_appears_whole_at_the_end(tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    with staging_dir(out) as staging:
        (staging.result / "a").write_text("a")
        assert not out.exists()
    assert (out / "a").read_text() == "a"
    assert names(out.parent) == ["out"]
    assert out.stat().st_mode & 0o777 == 0o755


def test_an_empty_folder_is_replaced(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    refuse_occupied(out)
    with staging_dir(out) as staging:
        (staging.result / "a").write_text("a")
    assert names(out) == ["a"]


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    with contextlib.suppress(RuntimeError), staging_dir(tmp_path / "out") as staging:
        (staging.result / "a").write_text("a")
        raise RuntimeError("half way")
    assert names(tmp_path) == []


def test_what_is_worth_keeping_is_found_again_and_then_gone(tmp_path: Path) -> None:
    leave_behind(tmp_path / "out")
    assert names(tmp_path) == [".out.building"]
    assert (tmp_path / ".out.building").stat().st_mode & 0o777 == 0o700
    with staging_dir(tmp_path / "out") as staging:
        assert staging.keep
        assert names(staging.result) == ["half"]
        assert (staging.result / "half").read_text() == "half"
        staging.clear()
        assert not staging.keep
        assert not staging.state_file.exists()
        assert names(staging.result) == []
    assert names(tmp_path) == ["out"]


def test_two_builds_of_one_folder_do_not_meet(tmp_path: Path) -> None:
    """FAULTS D3: one writer per folder; the other is told which process it is."""
    out = tmp_path / "out"
    holder = rf"out: is being built by process {os.getpid()} on .* since .*; wait until"
    with staging_dir(out) as staging:
        with pytest.raises(CorpusError, match=holder), staging_dir(out):
            pass
        assert staging.result.is_dir()
    assert names(tmp_path) == ["out"]


def test_a_lock_of_a_dead_process_does_not_hold(tmp_path: Path) -> None:
    hidden = tmp_path / ".out.building"
    hidden.mkdir()
    (hidden / "lock").write_text("")
    with staging_dir(tmp_path / "out"):
        pass
    assert names(tmp_path) == ["out"]


def test_a_folder_filled_meanwhile_is_left_alone(tmp_path: Path) -> None:
    out = tmp_path / "out"

    def lose_the_race() -> None:
        with staging_dir(out):
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


@pytest.mark.parametrize("kind", ["link", "file"])
def test_what_is_not_our_folder_is_never_used(tmp_path: Path, kind: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "precious").write_text("precious")
    hidden = tmp_path / ".out.building"
    if kind == "link":
        hidden.symlink_to(elsewhere)
    else:
        hidden.write_text("")
    with pytest.raises(CorpusError, match="out"), staging_dir(tmp_path / "out"):
        pass
    assert names(elsewhere) == ["precious"]


def test_folders_abandoned_a_week_ago_are_removed_by_any_build(tmp_path: Path) -> None:
    for name in ("old", "busy", "new"):
        leave_behind(tmp_path / name)
    (tmp_path / ".foreign.building").mkdir()
    week_ago = time.time() - 8 * 24 * 3600
    for name in ("old", "busy", "foreign"):
        hidden = tmp_path / f".{name}.building"
        for path in (*hidden.iterdir(), hidden):
            os.utime(path, (week_ago, week_ago))
    with (tmp_path / ".busy.building" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with staging_dir(tmp_path / "out"):
            pass
    assert names(tmp_path) == [".busy.building", ".foreign.building", ".new.building", "out"]


def test_what_a_kill_between_renaming_and_removing_left_is_removed(tmp_path: Path) -> None:
    out = tmp_path / "out"
    leave_behind(out)
    (tmp_path / ".out.building" / "result").rename(out)
    with pytest.raises(CorpusError, match="exists already"):
        refuse_occupied(out)
    assert names(tmp_path) == ["out"]
