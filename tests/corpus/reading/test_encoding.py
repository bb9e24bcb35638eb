"""Text in other encodings than UTF-8."""

from __future__ import annotations

import codecs
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ingot.corpus import Reason
from ingot.corpus.encodings import known_encoding
from ingot.errors import UsageError

Read = Callable[..., Any]
TEXT = "Grüße aus Köln, 日本, 🙂\n" * 20_000  # longer than any block that is decoded at once


@pytest.mark.parametrize(
    "data",
    [
        codecs.BOM_UTF16_LE + TEXT.encode("utf-16-le"),
        codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"),
        codecs.BOM_UTF32_LE + TEXT.encode("utf-32-le"),
        codecs.BOM_UTF32_BE + TEXT.encode("utf-32-be"),
        codecs.BOM_UTF8 + TEXT.encode(),
    ],
    ids=["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be", "utf-8"],
)
def test_a_byte_order_mark_names_the_encoding(tmp_path: Path, read: Read, data: bytes) -> None:
    """FAULTS D7: UTF-16 with a byte order mark is text."""
    (tmp_path / "a").write_bytes(data)
    (document,), report = read(tmp_path)
    assert document.text == TEXT
    assert not report.skipped


def test_jsonl_of_windows_is_read(tmp_path: Path, read: Read) -> None:
    """FAULTS D7: PowerShell redirects output as UTF-16."""
    rows = "".join(json.dumps({"text": f"Grüße {number}"}) + "\r\n" for number in range(3))
    (tmp_path / "a.jsonl").write_bytes(rows.encode("utf-16"))
    documents, _ = read(tmp_path)
    assert [document.text for document in documents] == ["Grüße 0", "Grüße 1", "Grüße 2"]


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("latin-1", "Grüße\nà bientôt\n"),
        ("windows-1252", "“Grüße” €5\n"),
        ("shift_jis", "日本語の文章です。\n"),
        ("gb18030", "中文文本。\n"),
        ("koi8-r", "Русский текст\n"),
        ("utf-16-le", "no mark, Grüße\n"),
    ],
)
def test_legacy_encodings_are_read_by_a_setting(
    tmp_path: Path, read: Read, encoding: str, text: str
) -> None:
    """FAULTS D7: text in a legacy encoding is named, with the setting that reads it."""
    (tmp_path / "a.txt").write_bytes(text.encode(encoding))
    (tmp_path / "b.txt").write_text("UTF-8 beside it: Grüße")
    documents, report = read(tmp_path)
    assert [document.text for document in documents] == ["UTF-8 beside it: Grüße"]
    assert sum(entry.count for entry in report.skipped.values()) == 1
    documents, report = read(tmp_path, encoding=encoding)
    assert [document.text for document in documents] == [text, "UTF-8 beside it: Grüße"]
    assert not report.skipped


def test_lines_of_jsonl_may_be_in_the_encoding(tmp_path: Path, read: Read) -> None:
    (tmp_path / "a.jsonl").write_bytes('{"text": "Grüße"}\n'.encode("latin-1"))
    documents, _ = read(tmp_path, encoding="latin-1")
    assert [document.text for document in documents] == ["Grüße"]


@pytest.mark.parametrize(
    "text",
    [
        "#!/usr/bin/python\n# -*- coding: iso-8859-15 -*-\nprint('5 € für Grüße')\n",
        "<?xml version='1.0' encoding='iso-8859-15'?>\n<p>5 € für Grüße</p>\n",
        '<html><head><META charset="iso-8859-15"></head>5 € für Grüße</html>\n',
    ],
)
def test_an_encoding_that_a_file_declares_is_used(tmp_path: Path, read: Read, text: str) -> None:
    (tmp_path / "a").write_bytes(text.encode("iso-8859-15"))
    (document,), _ = read(tmp_path)
    assert document.text == text


@pytest.mark.parametrize("declared", ["unicode_escape", "idna", "rot13", "nothing", "hex", "utf-7"])
def test_a_declared_encoding_must_be_one_of_files(
    tmp_path: Path, read: Read, declared: str
) -> None:
    (tmp_path / "a.py").write_bytes(f"# coding: {declared}\n".encode() + b"# Gr\xfc\xdfe\n")
    documents, report = read(tmp_path)
    assert documents == []
    assert report.skipped[Reason.NOT_UTF8].count == 1


def test_a_picture_is_not_latin_1(tmp_path: Path, read: Read) -> None:
    """Any bytes decode as Latin-1; control characters tell that it is not text."""
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8\xff\xe1\x10\x05Exif\x08\x03\x99")
    documents, report = read(tmp_path, encoding="latin-1")
    assert documents == []
    assert report.skipped[Reason.BINARY].count == 1


@pytest.mark.parametrize("name", ["base64", "utf-7", "punycode", "klingon", "", "utf\0-8"])
def test_the_setting_takes_encodings_of_files_only(name: str, read: Read) -> None:
    assert known_encoding(name) is None
    with pytest.raises(UsageError, match=r"encoding.* is not an encoding of text files"):
        read(encoding=name)
