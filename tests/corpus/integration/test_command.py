from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Command = Callable[..., subprocess.CompletedProcess[bytes]]


@pytest.fixture
def data_build(tmp_path: Path) -> Command:
    """Run ``ingot data build`` in a folder of its own: (*arguments, stdin)."""

    def run(*arguments: object, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, "-m", "ingot", "data", "build", *map(str, arguments)]
        return subprocess.run(
            command, input=stdin, capture_output=True, timeout=300, check=False, cwd=tmp_path
        )

    return run


def test_the_options_reach_the_corpus(
    data_build: Command, tmp_path: Path, prose: Callable[[int, int], str]
) -> None:
    (tmp_path / "files").mkdir()
    for number in range(60):
        (tmp_path / "files" / f"{number}.txt").write_text(prose(number, 200))
    near = [prose(number, 200) + "and one more" for number in range(10)]
    rows = [*near, *(prose(number, 200) for number in range(50, 110))]
    lines = "".join(json.dumps({"body": row}) + "\n" for row in rows).encode()
    done = data_build(
        *("files", "-", "--out", "out", "--stdin-format", "jsonl", "--json-field", "body"),
        *("--mix", "files=1", "--mix", "stdin=3", "--near-duplicates", "0.8", "--json"),
        *("--vocab-size", "300"),
        stdin=lines,
    )
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    assert told == json.loads((tmp_path / "out" / "corpus.json").read_text())
    assert told["skipped"]["duplicate"]["count"] == 10
    assert told["skipped"]["near-duplicate"]["count"] == 10
    assert [(each["name"], each["share"]) for each in told["sources"]] == [
        ("files", 0.25),
        ("stdin", 0.75),
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["files", "out"]


def test_what_was_left_out_and_why_is_told(
    data_build: Command, tmp_path: Path, prose: Callable[[int, int], str]
) -> None:
    """FAULTS D7: what is left out and why fits on one screen, with the setting that changes it."""
    files = tmp_path / "files"
    files.mkdir()
    for number in range(30):
        (files / f"NOTES-{number}").write_text(prose(number, 200))
    (files / ".notes").write_text(prose(99, 200))
    (files / "old").write_bytes((prose(98, 200) + "Grüße").encode("latin-1"))
    (files / "paper.pdf").write_bytes(b"%PDF-1.7")
    (files / "picture").write_bytes(b"\x89PNG\r\n\x1a\n\0\0")
    done = data_build("files", "--out", "out", "--vocab-size", "300")
    assert done.returncode == 0, done.stderr
    *left_out, summary = done.stdout.decode().splitlines()
    assert left_out == [
        "left out: 1 PDF or office document, such as files/paper.pdf; convert them, for example "
        "with pdftotext or pandoc",
        "left out: 1 binary, such as files/picture; only text is read",
        "left out: 1 hidden, such as files/.notes; --set corpus.hidden=true reads them",
        "left out: 1 not UTF-8, such as files/old; name their encoding: "
        "--set corpus.encoding=latin-1",
    ]
    assert summary.startswith("out: ")
    settings = ("--set", "corpus.encoding=latin-1", "--set", "corpus.hidden=true")
    done = data_build("files", "--out", "all", "--vocab-size", "300", *settings)
    told = json.loads((tmp_path / "all" / "corpus.json").read_text())
    assert done.returncode == 0, done.stderr
    assert set(told["skipped"]) == {"PDF or office document", "binary"}


def test_a_setting_of_something_else_is_refused(data_build: Command) -> None:
    done = data_build("files", "--out", "out", "--set", "run.steps=3")
    assert done.returncode == 2
    assert b"--set run.steps: " in done.stderr


def test_a_mistake_is_one_line(data_build: Command, tmp_path: Path) -> None:
    done = data_build("-", "--stdin-format", "xml", "--out", "out")
    assert done.returncode == 2
    assert done.stderr.decode().startswith("error: stdin_format must be 'text' or 'jsonl'")
    assert done.stderr.count(b"\n") == 1
    assert list(tmp_path.iterdir()) == []
