"""Reading of files that may be anything."""

from __future__ import annotations

import hashlib
import os
import tracemalloc
from pathlib import Path

import pytest

from ingot.errors import CorpusError, RecipeError, TrainingError
from ingot.files import read_regular, sha256_file
from ingot.settings import read_toml


def test_a_pipe_or_device_is_refused_at_once(tmp_path: Path) -> None:
    """FAULTS B4: opening a pipe would wait for a writer."""
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path):
        with pytest.raises(TrainingError, match="is not a regular file"):
            read_regular(path, TrainingError, max_bytes=10)
    with pytest.raises(RecipeError, match="is not a regular file"):
        read_toml(tmp_path / "pipe", RecipeError)


def test_a_digest_is_of_a_regular_file_alone(tmp_path: Path) -> None:
    """FAULTS B4: a pipe among the data of a run hung its digest."""
    path = tmp_path / "data.jsonl"
    path.write_bytes(b"text")
    assert sha256_file(path, CorpusError) == hashlib.sha256(b"text").hexdigest()
    os.mkfifo(tmp_path / "pipe.jsonl")
    for name, what in (("pipe.jsonl", "not a regular file"), ("absent.jsonl", "cannot be read")):
        with pytest.raises(CorpusError, match=what):
            sha256_file(tmp_path / name, CorpusError)


def test_a_file_of_the_largest_size_is_read_and_a_longer_one_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    assert read_regular(path, TrainingError, max_bytes=10) == b"0123456789"
    with pytest.raises(TrainingError, match="longer than 9 bytes"):
        read_regular(path, TrainingError, max_bytes=9)


def test_a_large_limit_costs_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    tracemalloc.start()
    try:
        read_regular(path, TrainingError, max_bytes=1 << 40)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_what_cannot_be_opened_is_one_line_with_the_fix(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"cannot be read \(No such file.*; look again"):
        read_regular(tmp_path / "none", TrainingError, max_bytes=9, fix="look again")
    with pytest.raises(TrainingError, match="cannot be read"):
        read_regular(Path("a\0b"), TrainingError, max_bytes=9)


@pytest.mark.parametrize(
    "text", ["x = " + "[" * 5000, "x = 1" + "0" * 5000, "x = '\\0", "\x00", "x=1\nx=2"]
)
def test_hostile_toml_is_one_line(tmp_path: Path, text: str) -> None:
    """FAULTS B5: thousands of brackets or digits in ``recipe.toml``."""
    (tmp_path / "recipe.toml").write_text(text)
    with pytest.raises(RecipeError, match="is not valid TOML") as refused:
        read_toml(tmp_path / "recipe.toml", RecipeError)
    assert len(str(refused.value).splitlines()) == 1
