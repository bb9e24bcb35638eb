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


def test_a_mistake_is_one_line(data_build: Command, tmp_path: Path) -> None:
    done = data_build("-", "--stdin-format", "xml", "--out", "out")
    assert done.returncode == 2
    assert done.stderr.decode().startswith("error: stdin_format must be 'text' or 'jsonl'")
    assert done.stderr.count(b"\n") == 1
    assert list(tmp_path.iterdir()) == []
