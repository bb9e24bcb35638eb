from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import zstandard
from pyarrow import parquet

from ingot.corpus import Reason
from ingot.corpus.reading import formats
from ingot.errors import CorpusError

Read = Callable[..., Any]


def compress(path: Path) -> list[Path]:
    """Return the file itself and its compressed copies."""
    data = path.read_bytes()
    kinds = {
        ".bz2": bz2.compress,
        ".gz": gzip.compress,
        ".xz": lzma.compress,
        ".zst": zstandard.compress,
    }
    packed = [path]
    for suffix, pack in kinds.items():
        packed.append(path.with_name(path.name + suffix))
        packed[-1].write_bytes(pack(data))
    return packed


def test_every_format_reads_the_same_in_every_compression(tmp_path: Path, read: Read) -> None:
    texts = [f"document {number}: Grüße" for number in range(600)]
    (tmp_path / "a.txt").write_text(texts[0])
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in texts))
    parquet.write_table(pa.table({"id": range(600), "text": texts}), tmp_path / "a.parquet")
    for name, expected in [("a.txt", texts[:1]), ("a.jsonl", texts), ("a.parquet", texts)]:
        for path in compress(tmp_path / name):
            documents, report = read(path)
            assert [document.text for document in documents] == expected, path.name
            assert not report.skipped
            assert report.source_bytes == path.stat().st_size


def test_jsonl_origins_are_lines_and_blank_lines_are_ignored(tmp_path: Path, read: Read) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "one"}\n\n  \n{"text": "four"}')
    documents, report = read(path)
    assert [document.origin for document in documents] == [f"{path}:1", f"{path}:4"]
    assert not report.skipped


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            '{"body": "x", "title": "y"}',
            r"has no field 'text'; name the one that holds text, of 'body', 'title': --set ",
        ),
        ('{"text": ', r"is not valid JSON \(.*\); correct or remove the line"),
        ('["text"]', r"is a list, not a JSON object"),
        ('{"text": 5}', r"field 'text' is a number, not text"),
        ('{"text": ["a"]}', r"field 'text' is a list, not text"),
        ("[" * 100_000, r"is not valid JSON"),
    ],
)
def test_bad_jsonl_is_refused_by_file_and_line(
    tmp_path: Path, read: Read, line: str, message: str
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(f'{{"text": "fine"}}\n{line}\n')
    with pytest.raises(CorpusError, match=rf"a\.jsonl:2: {message}"):
        read(path)


def test_ndjson_is_jsonl(tmp_path: Path, read: Read) -> None:
    (tmp_path / "a.ndjson").write_text('{"text": "one"}\n{"text": "two"}\n')
    documents, report = read(tmp_path)
    assert [document.text for document in documents] == ["one", "two"]
    assert not report.skipped


def test_the_field_can_be_chosen(tmp_path: Path, read: Read) -> None:
    (tmp_path / "a.jsonl").write_text('{"body": "x"}')
    parquet.write_table(pa.table({"body": ["y"]}), tmp_path / "b.parquet")
    documents, _ = read(tmp_path, json_field="body")
    assert [document.text for document in documents] == ["x", "y"]


def test_jsonl_lines_that_are_not_text_are_counted(tmp_path: Path, read: Read) -> None:
    path = tmp_path / "a.jsonl"
    lines = [b'{"text": "\xff"}', b'{"text": "\\ud800"}', b'{"text": null}', b'{"text": "ok"}']
    path.write_bytes(b"\n".join(lines))
    documents, report = read(path)
    assert [document.text for document in documents] == ["ok"]
    assert report.skipped[Reason.NOT_UTF8].examples == [f"{path}:1", f"{path}:2"]
    assert report.skipped[Reason.EMPTY].examples == [f"{path}:3"]


@pytest.mark.parametrize(
    "column",
    [
        pa.array(["a", None, "b"]),
        pa.array(["a", None, "b"], pa.large_string()),
        pa.array(["a", None, "b"]).dictionary_encode(),
    ],
    ids=["string", "large string", "dictionary"],
)
def test_parquet_text_columns_of_every_kind(tmp_path: Path, read: Read, column: pa.Array) -> None:
    path = tmp_path / "a.parquet"
    parquet.write_table(pa.table({"text": column}), path)
    documents, report = read(path)
    assert [(document.text, document.origin) for document in documents] == [
        ("a", f"{path}:1"),
        ("b", f"{path}:3"),
    ]
    assert report.skipped[Reason.EMPTY].count == 1


def test_parquet_bytes_that_are_not_utf8_are_counted(tmp_path: Path, read: Read) -> None:
    path = tmp_path / "a.parquet"
    raw = pa.array([b"ok", b"\xff\xfe"], pa.binary()).view(pa.string())
    parquet.write_table(pa.table({"text": raw}), path)
    documents, report = read(path)
    assert [document.text for document in documents] == ["ok"]
    assert report.skipped[Reason.NOT_UTF8].examples == [f"{path}:2"]


def test_bad_parquet_is_refused_by_name(tmp_path: Path, read: Read) -> None:
    path = tmp_path / "a.parquet"
    parquet.write_table(pa.table({"body": ["x"], "text": [1]}), path)
    with pytest.raises(CorpusError, match=r"a\.parquet: column 'text' is int64, not text"):
        read(path)
    with pytest.raises(CorpusError, match=r"has no column 'prose'; .* of 'body', 'text'"):
        read(path, json_field="prose")
    whole = path.read_bytes()
    for data in (b"not parquet at all", whole[:-20], whole[:4] + bytes(40) + whole[44:], b""):
        path.write_bytes(data)
        with pytest.raises(CorpusError, match=r"a\.parquet: cannot be read as Parquet"):
            read(path, json_field="body")


def test_parquet_metadata_that_ends_pyarrow_is_refused(tmp_path: Path, read: Read) -> None:
    """FAULTS B: found by fuzzing; pyarrow aborts where it is asked for the chunk of a column."""
    made = io.BytesIO()
    parquet.write_table(pa.table({"text": [f"row {n}" for n in range(50)]}), made)
    whole = made.getvalue()
    path = tmp_path / "a.parquet"
    refused = 0
    for at in range(len(whole) - 400, len(whole) - 8):  # every byte of the footer
        for value in (0xFF, whole[at] ^ 0x10, (whole[at] + 0x10) % 256):
            path.write_bytes(whole[:at] + bytes([value]) + whole[at + 1 :])
            try:
                read(path)
            except CorpusError:
                refused += 1
    assert refused > 100


def test_a_missing_pyarrow_is_said_clearly(
    tmp_path: Path, read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(CorpusError, match=r"needs pyarrow.*pip install 'ingot\[train\]'"):
        read(path)


def test_a_jsonl_line_without_end_is_refused(
    tmp_path: Path, read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingot.corpus.reading.jsonl.MAX_LINE_BYTES", 1 << 20)
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "fine"}\n"' + "x" * (1 << 21))
    with pytest.raises(CorpusError, match=r"a\.jsonl:2: line is longer than 1 MiB"):
        read(path)


def test_parquet_that_would_fill_the_memory_is_refused(
    tmp_path: Path, read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A text that is stored once may be named by any number of rows."""
    path = tmp_path / "a.parquet"
    text = "".join(map(str, range(400_000)))
    column = pa.DictionaryArray.from_arrays(pa.array([0] * 300, pa.int32()), pa.array([text]))
    parquet.write_table(pa.table({"text": column}), path, dictionary_pagesize_limit=1 << 30)
    assert path.stat().st_size < 3 * len(text)
    table = parquet.ParquetFile(path)
    assert formats._rows_at_once(table, "text", path) < 40
    with pytest.raises(CorpusError, match=r"a\.parquet: decompresses to more than 250 times"):
        read(path)
    monkeypatch.setattr(formats, "_MAX_GROUP", 1 << 20)
    with pytest.raises(CorpusError, match=r"has a row group of 2 MiB; write it with row groups"):
        read(path)


def test_a_line_of_countless_values_is_refused(tmp_path: Path, read: Read) -> None:
    """FAULTS B5: parsed, small values take far more memory than the file."""
    path = tmp_path / "a.jsonl"
    commas = '"' + "," * (2 << 20) + '"'  # in a text they are not values
    path.write_text(f'{{"text": {commas}}}\n{{"text": "x", "more": [{"0," * (1 << 18)}0]}}\n')
    with pytest.raises(CorpusError, match=r"a\.jsonl:2: holds more than 262,144 values"):
        read(path)
    path.write_text(f'{{"text": {commas}}}\n')
    (document,), _ = read(path)
    assert len(document.text) == 2 << 20
