from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ingot.corpus import ReadReport, Reason
from ingot.corpus.reading.files import find_files, list_files
from ingot.errors import CorpusError


def names(root: Path, report: ReadReport | None = None, **options: object) -> list[str]:
    files = find_files([root], report or ReadReport(), **options)  # type: ignore[arg-type]
    return [str(file.path.relative_to(root)) for file in files]


@pytest.fixture
def tree(tmp_path: Path) -> Callable[[str], Path]:
    def make(listing: str) -> Path:
        for name in listing.split():
            path = tmp_path / "tree" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"text of {name}\n")
        return tmp_path / "tree"

    return make


def test_folders_are_read_in_sorted_order(tree: Callable[[str], Path]) -> None:
    root = tree("b.txt a.md c/z.py c/a.rst B.txt")
    assert names(root) == ["B.txt", "a.md", "b.txt", "c/a.rst", "c/z.py"]


def test_hidden_and_machine_made_folders_are_left_out(tree: Callable[[str], Path]) -> None:
    root = tree(
        "a.txt .git/b.txt .hidden/c.txt __pycache__/d.py x/node_modules/e.js "
        "lib/site-packages/f.py .g.txt"
    )
    assert names(root) == ["a.txt"]
    assert names(root, exclude=()) == [
        "__pycache__/d.py",
        "a.txt",
        "lib/site-packages/f.py",
        "x/node_modules/e.js",
    ]


def test_a_source_may_itself_have_an_excluded_name(tree: Callable[[str], Path]) -> None:
    root = tree("site-packages/a.py") / "site-packages"
    assert names(root) == ["a.py"]


def test_kinds_look_inside_compression(tree: Callable[[str], Path]) -> None:
    root = tree("a.jsonl.gz b.txt.ZST c.parquet d.zip e.tar.gz f")
    report = ReadReport()
    assert names(root, report) == ["a.jsonl.gz", "b.txt.ZST", "c.parquet"]
    assert report.skipped[Reason.OTHER_KIND].count == 3


def test_suffixes_choose_the_kinds(tree: Callable[[str], Path]) -> None:
    root = tree("a.py b.txt c.PY d.foo")
    assert names(root, suffixes=["py", ".foo"]) == ["a.py", "c.PY", "d.foo"]


def test_a_file_given_by_itself_is_taken_whatever_its_suffix(tree: Callable[[str], Path]) -> None:
    path = tree("strange.log") / "strange.log"
    assert [file.path for file in find_files([path], ReadReport())] == [path]


def test_link_loops_end(tree: Callable[[str], Path]) -> None:
    root = tree("a/b/c.txt")
    (root / "a/b/up").symlink_to(root)
    (root / "again").symlink_to(root / "a")
    assert names(root) == ["a/b/c.txt"]


def test_broken_links_and_pipes_are_counted_not_opened(tree: Callable[[str], Path]) -> None:
    root = tree("a.txt")
    (root / "gone.txt").symlink_to(root / "nowhere")
    os.mkfifo(root / "pipe.txt")
    report = ReadReport()
    assert names(root, report) == ["a.txt"]
    assert report.skipped[Reason.UNREADABLE].count == 2
    assert report.skipped[Reason.UNREADABLE].examples[0].endswith("gone.txt")


def test_a_missing_source_is_named(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"nowhere: cannot be read \(No such file"):
        list(find_files([tmp_path / "nowhere"], ReadReport()))


def test_a_pipe_as_source_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CorpusError, match="neither a file nor a folder"):
        list(find_files([tmp_path / "pipe"], ReadReport()))


def test_the_fingerprint_follows_names_sizes_and_times(tree: Callable[[str], Path]) -> None:
    root = tree("a.txt b.txt")

    def fingerprint() -> str:
        return list_files([root]).fingerprint()

    first = fingerprint()
    assert fingerprint() == first
    (root / "a.txt").rename(root / "c.txt")
    second = fingerprint()
    os.utime(root / "c.txt", ns=(1, 1))
    third = fingerprint()
    (root / "c.txt").write_text("longer than before, by far\n")
    os.utime(root / "c.txt", ns=(1, 1))
    assert len({first, second, third, fingerprint()}) == 4
