from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingot.corpus import Reason
from ingot.corpus.reading.formats import PIECE_BYTES
from ingot.errors import CorpusError

Read = Callable[..., Any]


def test_a_text_file_is_one_document(tmp_path: Path, read: Read) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("Grüße\r\nand é\n".encode())
    (document,), report = read(path)
    assert document.text == "Grüße\r\nand é\n"
    assert document.origin == str(path)
    assert document.digest == hashlib.sha256(path.read_bytes()).digest()
    assert document.size == report.text_bytes == report.source_bytes == path.stat().st_size
    assert report.documents == 1
    assert not report.skipped
    assert report.summary() == ""


def test_a_byte_order_mark_is_dropped(tmp_path: Path, read: Read) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbftext")
    (tmp_path / "b.jsonl").write_bytes(b'\xef\xbb\xbf{"text": "json"}')
    documents, _ = read(tmp_path)
    assert [document.text for document in documents] == ["text", "json"]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", Reason.EMPTY),
        (b" \n\t\n", Reason.EMPTY),
        (b"MZ\x00\x00text", Reason.BINARY),
        ("UTF-16 text".encode("utf-16-le"), Reason.BINARY),
        ("UTF-16 text".encode("utf-16")[:-1], Reason.NOT_UTF8),
        (b"%PDF-1.4\nand so on", Reason.DOCUMENT),
        ("Grüße".encode("latin-1"), Reason.NOT_UTF8),
        (b"cut short \xe2\x82", Reason.NOT_UTF8),
        (b"good\n", Reason.DUPLICATE),
    ],
)
def test_what_is_left_out_is_counted(
    tmp_path: Path, read: Read, data: bytes, reason: Reason
) -> None:
    (tmp_path / "a.txt").write_bytes(b"good\n")
    (tmp_path / "b.txt").write_bytes(data)
    documents, report = read(tmp_path)
    assert [document.text for document in documents] == ["good\n"]
    assert {key: entry.count for key, entry in report.skipped.items()} == {reason: 1}
    assert report.skipped[reason].examples == [str(tmp_path / "b.txt")]
    assert f"1 {reason} (first: {tmp_path / 'b.txt'})" in report.summary()


def test_examples_are_few_and_counts_are_not(tmp_path: Path, read: Read) -> None:
    for number in range(10):
        (tmp_path / f"{number}.txt").write_bytes(b"same")
    _, report = read(tmp_path)
    assert report.skipped[Reason.DUPLICATE].count == 9
    assert len(report.skipped[Reason.DUPLICATE].examples) == 3


@pytest.mark.parametrize("line", ["0123456789 Grüße aus Köln\n", "no line ends here, ä"])
def test_a_long_file_is_cut_between_lines_or_characters(
    tmp_path: Path, read: Read, line: str
) -> None:
    text = "".join(f"{number} {line}" for number in range(PIECE_BYTES // len(line)))
    assert PIECE_BYTES < len(text.encode()) < 2 * PIECE_BYTES
    path = tmp_path / "long.txt"
    path.write_text(text, newline="")
    documents, report = read(path)
    assert "".join(document.text for document in documents) == text
    assert [document.origin for document in documents] == [str(path), f"{path}#2"]
    assert not report.skipped
    if "\n" in text:
        assert documents[0].text.endswith("\n")


def test_a_bad_piece_of_a_long_file_loses_only_itself(tmp_path: Path, read: Read) -> None:
    good = b"a good line\n" * (PIECE_BYTES // 12 + 1)
    path = tmp_path / "long.txt"
    path.write_bytes(good + b"bad \xff line\n")
    documents, report = read(path)
    assert len(documents) == 1
    assert report.skipped[Reason.NOT_UTF8].examples == [f"{path}#2"]


def test_a_file_whose_reading_fails_is_named(tmp_path: Path, read: Read) -> None:
    (tmp_path / "a.txt").symlink_to("/proc/self/mem")  # opens like a file, then fails
    with pytest.raises(CorpusError, match=r"a\.txt: cannot be read to its end \(Input/output"):
        read(tmp_path / "a.txt")


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(texts=st.lists(st.text(st.characters(codec="utf-8"), max_size=40), max_size=8))
def test_any_text_survives_jsonl_or_is_counted(
    tmp_path: Path, read: Read, texts: list[str]
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    documents, report = read(path)
    good = [text for text in texts if text.strip() and "\0" not in text]
    assert [document.text for document in documents] == list(dict.fromkeys(good))
    left_out = sum(entry.count for entry in report.skipped.values())
    assert len(documents) + left_out == len(texts)
