from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ingot.demo.demo_folder import DemoFolder
from ingot.errors import UsageError
from ingot.settings import merge_tables
from ingot.training.config.recipe import make_recipe
from ingot.training.run_folder.run import edited_recipe, open_run

Cli = Callable[..., subprocess.CompletedProcess[str]]


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def demo(trained: Path, tmp_path: Path) -> Path:
    """A folder that the demo made, with a run of 20 seconds."""
    path = tmp_path / "demo"
    folder = DemoFolder(path, 20.0)
    folder.begin()
    shutil.copytree(trained, path, dirs_exist_ok=True)
    run = open_run(path)
    length = {"run": {"steps": None, "budget_seconds": 20.0}}
    make_recipe(merge_tables(run.recipe.model_dump(mode="json"), length)).save(path / "recipe.toml")
    return path


def test_a_run_that_the_demo_did_not_make_is_left_alone(
    here: Cli, trained: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    before = tree(tmp_path)
    failed = here("demo", "--folder", run, "--out", tmp_path / "x.ingot", "--port", "0", code=2)
    assert "did not make" in failed.stderr
    assert "choose another --folder" in failed.stderr
    assert tree(tmp_path) == before


def test_a_folder_of_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="holds files that ingot demo did not make"):
        DemoFolder(tmp_path, 20.0)
    assert tree(tmp_path) == {"thesis.txt": b"years of work"}


def test_a_file_is_not_a_folder(tmp_path: Path) -> None:
    path = tmp_path / "demo"
    path.write_text("mine")
    with pytest.raises(UsageError, match="choose another --folder"):
        DemoFolder(path, 20.0)
    assert path.read_text() == "mine"


def test_a_run_that_another_process_trains_is_left_alone(demo: Path) -> None:
    """FAULTS D3."""
    before, folder = tree(demo), DemoFolder(demo, 40.0)
    hold = (
        "import sys; from pathlib import Path; from ingot.errors import UsageError;"
        "from ingot.folder_lock import folder_locked\n"
        "with folder_locked(Path(sys.argv[1]), UsageError, 'is being trained'):"
        " print(flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(demo)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(UsageError, match=f"is being trained.*process {holder.pid}"):
            folder.clear(open_run(demo))
        holder.kill()
    assert {name: data for name, data in tree(demo).items() if name != ".lock"} == before
    folder.clear(open_run(demo))  # the lock of a killed process is in nobody's way
    assert not folder.has_run


def test_its_own_run_is_removed_whole_and_a_crash_leaves_nothing_in_the_way(demo: Path) -> None:
    (demo / ".corpus.building").mkdir()
    (demo / ".run.json.x1").write_bytes(b"")
    folder = DemoFolder(demo, 40.0)
    assert folder.has_run
    assert not folder.same_budget
    folder.clear(open_run(demo))
    assert {path.name for path in demo.iterdir()} == {"demo.json"}
    folder.begin()
    assert DemoFolder(demo, 40.0).same_budget


def test_a_file_of_the_users_keeps_the_whole_run(demo: Path) -> None:
    (demo / "notes.txt").write_text("mine")
    before = tree(demo)
    with pytest.raises(UsageError, match=r"notes\.txt: was not made by ingot demo"):
        DemoFolder(demo, 40.0).clear(open_run(demo))
    assert tree(demo) == before


def test_a_run_that_the_user_trained_further_is_kept(demo: Path) -> None:
    run = open_run(demo)
    longer = {"run": {"budget_seconds": 36_000.0}}
    tables = merge_tables(edited_recipe(run).model_dump(mode="json"), longer)
    make_recipe(tables).save(demo / "recipe.toml")
    before = tree(demo)
    with pytest.raises(UsageError, match="was changed since the demo"):
        DemoFolder(demo, 40.0).clear(open_run(demo))
    assert tree(demo) == before


def test_links_are_removed_and_not_followed(demo: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "corpus"
    shutil.move(demo / "corpus", elsewhere)
    (demo / "corpus").symlink_to(elsewhere)
    before = tree(elsewhere)
    DemoFolder(demo, 40.0).clear(None)
    assert not (demo / "corpus").is_symlink()
    assert tree(elsewhere) == before


@pytest.mark.parametrize("what", ["ingot", "folder", "file", "link"])
def test_what_lies_where_the_ingot_goes_is_left_alone(
    what: str, here: Cli, sealed: Path, tmp_path: Path
) -> None:
    out = tmp_path / "demo.ingot"
    if what == "ingot":
        shutil.copytree(sealed, out)
    elif what == "folder":
        out.mkdir()
        (out / "x").write_text("mine")
    elif what == "file":
        out.write_text("mine")
    else:
        out.symlink_to(tmp_path / "nowhere")
    before = tree(tmp_path)
    folder = tmp_path / "demo"
    failed = here("demo", "--folder", folder, "--out", out, "--port", "0", code=2)
    assert "choose another --out" in failed.stderr
    assert tree(tmp_path) == before
    assert not folder.exists()


def test_the_ingot_that_it_sealed_may_be_replaced(sealed: Path, tmp_path: Path) -> None:
    folder = DemoFolder(tmp_path / "demo", 20.0)
    folder.begin()
    folder.sealed(json.loads((sealed / "ingot.json").read_text())["digest"])
    DemoFolder(tmp_path / "demo", 20.0).check_ingot(sealed)


def test_a_damaged_marker_is_named(demo: Path) -> None:
    (demo / "demo.json").write_text("{}")
    with pytest.raises(UsageError, match=r"demo\.json: is damaged .budget_seconds is missing"):
        DemoFolder(demo, 20.0)
