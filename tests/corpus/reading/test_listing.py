from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ingot.corpus import ReadReport, Reason
from ingot.corpus.reading.listing import find_files, list_files
from ingot.corpus.reading.selection import Selection
from ingot.errors import CorpusError


def names(root: Path, report: ReadReport | None = None, **options: object) -> list[str]:
    selection = Selection(**options)  # type: ignore[arg-type]
    files = find_files([root], report or ReadReport(), selection)
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


def test_suffixes_choose_the_kinds(tree: Callable[[str], Path]) -> None:
    root = tree("a.py b.txt c.PY d.foo")
    assert names(root, suffixes=["py", ".foo"]) == ["a.py", "c.PY", "d.foo"]


def test_a_file_given_by_itself_is_taken_whatever_its_suffix(tree: Callable[[str], Path]) -> None:
    path = tree("strange.log") / "strange.log"
    assert [file.path for file in find_files([path], ReadReport())] == [path]


def test_names_do_not_matter_and_content_does(tmp_path: Path) -> None:
    """FAULTS D7: folders drop most plain text by its name."""
    root = tmp_path / "docs"
    root.mkdir()
    text = b"plain text\n"
    for name in ("a.log", "README", "TODO", "b.csv", "c.ndjson", "d.json", "e.unheard-of"):
        (root / name).write_bytes(text)
    (root / "NEWS.Debian.gz").write_bytes(gzip.compress(text))
    (root / "picture").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR")
    (root / "packed.gz").write_bytes(gzip.compress(b"\x7fELF\2\1\1\0\0"))
    (root / "paper.txt").write_bytes(b"%PDF-1.7\n1 0 obj")
    (root / "letter.docx").write_bytes(b"PK\3\4 word/document.xml")
    report = ReadReport()
    assert names(root, report) == sorted(
        ["NEWS.Debian.gz", "README", "TODO", "a.log", "b.csv", "c.ndjson", "d.json", "e.unheard-of"]
    )
    assert {reason: entry.count for reason, entry in report.skipped.items()} == {
        Reason.BINARY: 2,
        Reason.DOCUMENT: 2,
    }


def test_what_a_name_leaves_out_is_counted(tree: Callable[[str], Path]) -> None:
    """FAULTS D7: a build never leaves out more than it says."""
    root = tree("a.txt .git/b.txt .c.txt node_modules/d.js x/__pycache__/e.py f.py")
    report = ReadReport()
    assert names(root, report, suffixes=[".txt"]) == ["a.txt"]
    assert {reason: entry.count for reason, entry in report.skipped.items()} == {
        Reason.HIDDEN: 2,
        Reason.EXCLUDED: 2,
        Reason.OTHER_KIND: 1,
    }
    assert names(root, hidden=True, exclude=(), suffixes=[".txt"]) == [
        ".c.txt",
        ".git/b.txt",
        "a.txt",
    ]


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.pdf", b"%PDF-1.7", r"a\.pdf: is a PDF or office document; convert them, .* pdftotext"),
        ("a.epub", b"PK\3\4", r"a\.epub: is a PDF or office document"),
        ("a.txt", b"\0\1\2", r"a\.txt: is binary, not text"),
    ],
)
def test_a_file_given_by_itself_that_is_not_text_is_refused(
    tmp_path: Path, name: str, data: bytes, message: str
) -> None:
    """FAULTS D7, E5: a PDF given by name is refused before any work, with what to do."""
    (tmp_path / name).write_bytes(data)
    with pytest.raises(CorpusError, match=message):
        list_files([tmp_path / name])


def test_a_link_that_leaves_the_folder_is_not_followed(tree: Callable[[str], Path]) -> None:
    """FAULTS D7: a link to the home folder must not put it into a corpus."""
    root = tree("in/a.txt in/sub/b.txt out/secret.txt") / "in"
    (root / "file").symlink_to(root.parent / "out" / "secret.txt")
    (root / "folder").symlink_to(root.parent / "out")
    (root / "up").symlink_to(root.parent)
    (root / "inside").symlink_to(root / "a.txt")
    report = ReadReport()
    assert names(root, report) == ["a.txt", "inside", "sub/b.txt"]
    assert report.skipped[Reason.LINK].count == 3
    (root.parent / "named").symlink_to(root)
    assert names(root.parent / "named") == ["a.txt", "inside", "sub/b.txt"]  # asked for by name


def test_links_in_a_circle_are_counted(tree: Callable[[str], Path]) -> None:
    root = tree("a.txt")
    (root / "b").symlink_to(root / "c")
    (root / "c").symlink_to(root / "b")
    report = ReadReport()
    assert names(root, report) == ["a.txt"]
    assert report.skipped[Reason.UNREADABLE].count == 2


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
