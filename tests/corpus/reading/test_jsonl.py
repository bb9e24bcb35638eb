from __future__ import annotations

import io
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingot.corpus.reading import jsonl
from ingot.corpus.reading.jsonl import Line, kind_of, read_lines
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


@pytest.mark.parametrize("part", [b'""', b'""1', b"[", b"{,", b'"a":1,', b'"\\', b'"[,{"'])
def test_values_of_a_line_are_counted_in_little_memory(part: bytes) -> None:
    """FAULTS B5: found by fuzzing; the parts of a line outside its texts took 40 times its size."""
    data = b'{"a":' + part * (1 << 18)
    outside = {b'""': 0, b'""1': 0, b"[": 1 << 18, b"{,": 1 << 19, b'"a":1,': 1 << 18}
    line = Line(data, PATH, 1)
    tracemalloc.start()
    try:
        if outside.get(part, 0) + 1 > jsonl.MAX_VALUES:
            with pytest.raises(CorpusError, match="holds more than 262,144 values"):
                line.refuse_crowded()
        else:
            line.refuse_crowded()
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@given(st.lists(st.sampled_from([b'"', b"\\", b",", b"[", b"{", b"a", b"1", b"\n"]), max_size=30))
def test_only_values_outside_texts_count(parts: list[bytes]) -> None:
    data = b"".join(parts)
    outside, in_text, escaped = 0, False, False
    for byte in data:
        character = chr(byte)
        if escaped:
            escaped = False
        elif in_text and character == "\\":
            escaped = True
        elif character == '"':
            in_text = not in_text
        elif not in_text and character in ",[{":
            outside += 1
    found = sum(1 for one in jsonl._SEPARATOR.finditer(data) if one.lastindex)
    assert found == outside
