from __future__ import annotations

import gzip
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingot.errors import CorpusError
from ingot.training.data import json_array
from ingot.training.data.json_array import read_array
from ingot.training.data.records import read_records

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


MARK = b"\xef\xbb\xbf \n"


class Dripping(io.BytesIO):
    """A stream that gives one byte at a time."""

    def read(self, _: int | None = -1, /) -> bytes:
        return super().read(1)


@given(st.lists(st.dictionaries(st.text(max_size=5), VALUES), max_size=5), st.booleans())
def test_elements_come_back_however_the_stream_is_cut(values: list[Any], pretty: bool) -> None:
    data = json.dumps(values, indent=2 if pretty else None, ensure_ascii=False).encode(
        errors="surrogatepass"
    )
    for stream in (io.BytesIO(data), Dripping(data)):
        try:
            found = [value for value, _ in read_array(stream, Path("a.json"))]
        except CorpusError as error:
            assert "UTF-8" in str(error)  # noqa: PT017
            continue
        assert found == values


def test_arrays_are_read_beside_jsonl(tmp_path: Path) -> None:
    """FAULTS D12: JSON arrays."""
    rows = [{"a": number, "text": "ä" * 50_000} for number in range(9)]
    (tmp_path / "a.json").write_text(json.dumps(rows, indent=1))
    (tmp_path / "b.json.gz").write_bytes(gzip.compress(MARK + json.dumps(rows).encode()))
    (tmp_path / "c.json").write_bytes(json.dumps(rows).encode("utf-16"))
    (tmp_path / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    paths = sorted(tmp_path.iterdir())
    records = list(read_records(paths))
    assert [record.values["a"] for record in records] == [*range(9)] * 4
    assert records[3].origin == f"{paths[0]}[3]"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[", r"a\.json\[0\]: is not valid|a\.json\[0\]: is .*, not an object"),
        ("[{}", r"a\.json\[1\]: is not valid JSON \(expected ',', found the end of the file\)"),
        ("[{},]", r"a\.json\[1\]: is missing, not an object"),
        ("[{} {}]", r"a\.json\[1\]: is not valid JSON \(expected ',', found '\{'\)"),
        ("[{}]x", r"a\.json: continues after its array"),
        ("[[1]]", r"a\.json\[0\]: is a list, not an object"),
        ("[1]", r"a\.json\[0\]: is a number, not an object"),
        ('[{"a": }]', r"a\.json\[0\]: is not valid JSON"),
        ('[{"a": ' + "[" * 100_000, r"a\.json\[0\]: is not valid JSON"),
        ('[{"a": ' + "9" * 5_000 + "}]", r"a\.json\[0\]: is not valid JSON"),
        ("[{\xff}]", r"a\.json: is not UTF-8"),
        ("[]", r"a\.json: holds no line"),
    ],
)
def test_what_is_no_array_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(CorpusError, match=message) as caught:
        list(read_records([tmp_path / "a.json"]))
    assert "\n" not in str(caught.value)


def test_an_element_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_array, "MAX_ELEMENT", 1 << 20)
    data = b'[{"a": "' + b"x" * (4 << 20)
    stream = io.BytesIO(data)
    with pytest.raises(CorpusError, match="is longer than 1 MiB"):
        list(read_array(stream, Path("a.json")))
    assert stream.tell() < 3 << 20
