from __future__ import annotations

import io
from pathlib import Path

import pytest

from ingot.corpus.reading import jsonl
from ingot.corpus.reading.jsonl import kind_of, read_lines
from ingot.errors import CorpusError

PATH = Path("a.jsonl")


def test_blank_lines_are_skipped_and_counted_in_origins() -> None:
    data = b'\xef\xbb\xbf{"a": 1}\n\n \r\n{"a": 2}'
    lines = list(read_lines(io.BytesIO(data), PATH))
    assert [(line.parse(), line.origin) for line in lines] == [
        ({"a": 1}, "a.jsonl:1"),
        ({"a": 2}, "a.jsonl:4"),
    ]


def test_a_line_may_have_the_greatest_length_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonl, "MAX_LINE_BYTES", 1 << 20)
    longest = b"x" * ((1 << 20) - 1) + b"\n"
    assert [line.number for line in read_lines(io.BytesIO(longest * 2), PATH)] == [1, 2]
    with pytest.raises(CorpusError, match=r"a\.jsonl:2: line is longer than 1 MiB; shorten it"):
        list(read_lines(io.BytesIO(longest + b"x" + longest), PATH))


def test_bytes_that_are_not_utf8_are_the_callers_to_handle() -> None:
    (line,) = read_lines(io.BytesIO(b'{"a": "\xff"}'), PATH)
    with pytest.raises(UnicodeDecodeError):
        line.parse()


def test_every_kind_of_json_has_a_name() -> None:
    assert [kind_of(value) for value in ({}, [], "", 1, 0.5, False, None)] == [
        "an object",
        "a list",
        "text",
        "a number",
        "a number",
        "true or false",
        "null",
    ]
