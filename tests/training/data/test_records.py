from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest

from ingot.corpus.reading import jsonl
from ingot.errors import CorpusError
from ingot.training.data.records import Record, data_digest, read_records


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "lines.jsonl"


def test_lines_come_in_order_with_their_origins(file: Path, tmp_path: Path) -> None:
    file.write_bytes(b'\xef\xbb\xbf{"a": 1}\n\n  \r\n{"a": 2}')
    second = tmp_path / "more.jsonl.gz"
    second.write_bytes(gzip.compress(b'{"a": "\xc3\xa9"}\n'))
    found = [(record.values["a"], record.origin) for record in read_records([file, second])]
    assert found == [(1, f"{file}:1"), (2, f"{file}:4"), ("é", f"{second}:1")]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"{", "is not valid JSON"),
        (b"[" * 100_000, "is not valid JSON"),
        (b"[1]", "is a list, not a JSON object"),
        (b"null", "is null, not a JSON object"),
        (b'"text"', "is text, not a JSON object"),
        (b'{"a": "\xff"}', "is not UTF-8"),
        (b'{"a": ' + b"9" * 9999 + b"}", "is not valid JSON"),
        (b'{"a": "' + b"x" * 3000 + b'"}', "line is longer than"),
    ],
)
def test_a_bad_line_is_named(
    file: Path, line: bytes, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if b"xxx" in line:
        monkeypatch.setattr(jsonl, "MAX_LINE_BYTES", 2000)
    file.write_bytes(b'{"a": 1}\n' + line + b"\n")
    with pytest.raises(CorpusError) as caught:
        list(read_records([file]))
    assert str(caught.value).startswith(f"{file}:2: {message}")
    assert "\n" not in str(caught.value)


def test_a_file_without_lines_is_refused(file: Path) -> None:
    file.write_bytes(b"\n \n")
    with pytest.raises(CorpusError, match="holds no line"):
        list(read_records([file]))


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent.jsonl"):
        with pytest.raises(CorpusError, match=r"cannot be read|is not a regular file"):
            list(read_records([path]))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "'a' is null, not text"),
        (True, "'a' is true or false, not text"),
        (1.5, "'a' is a number, not text"),
        ({}, "'a' is an object, not text"),
        (" \n", "'a' is empty"),
        ("\ud800", "'a' holds half a surrogate pair"),
    ],
)
def test_a_field_must_be_text(value: object, message: str) -> None:
    with pytest.raises(CorpusError, match=f"^file:7: {message}; "):
        Record({"a": value}, "file:7").text("a")


def test_a_missing_field_is_named() -> None:
    with pytest.raises(CorpusError, match="file:7: has no 'b'"):
        Record({"a": "x"}, "file:7").text("b")


def test_empty_text_may_be_allowed() -> None:
    assert Record({"a": ""}, "file:7").text("a", empty=True) == ""


def test_a_pipe_is_refused_without_waiting(tmp_path: Path) -> None:
    """FAULTS B4: nobody writes to the pipe, so opening it would never end."""
    os.mkfifo(tmp_path / "pipe")
    for read in (lambda paths: list(read_records(paths)), data_digest):
        with pytest.raises(CorpusError, match="pipe: is not a regular file"):
            read([tmp_path / "pipe"])
