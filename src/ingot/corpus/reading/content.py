"""Kinds of content, told from the first bytes of a file rather than from its name."""

from __future__ import annotations

import codecs
import io
import re
from pathlib import PurePath
from typing import BinaryIO

from ingot.corpus.reading.report import Reason

HEAD_BYTES = 8 << 10
"""Bytes from the beginning of a file that tell what it holds."""

_ZIP = (b"PK\x03\x04", b"PK\x05\x06")  # the second begins an archive without members
_TAR, _TAR_AT = b"ustar", 257
# Formats that hold text for people but are none: they need a converter.
_DOCUMENTS = (b"%PDF-", b"%!PS", b"{\\rtf", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")
_OFFICE = "docx docm dotx xlsx xlsm pptx pptm odt ods odp odg epub pages"
_ZIPPED_DOCUMENTS = frozenset(f".{kind}" for kind in _OFFICE.split())
# UTF-32 first: its little-endian mark begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# Control characters that text does not hold, as file(1) has them.
_BINARY_BYTES = re.compile(rb"[\x00-\x06\x0e-\x1a\x1c-\x1f]")
# PEP 263, the XML declaration, and HTML's meta element.
_DECLARATIONS = (
    re.compile(rb"\A[^\n]{0,200}\n?[^\n]{0,200}?coding[:=][ \t]*([-\w.]{1,40})"),
    re.compile(rb"\A\s*<\?xml[^>]{0,200}?encoding=[\"']([-\w.]{1,40})"),
    re.compile(rb"(?i)<meta[^>]{0,200}?charset=[\"']?([-\w.]{1,40})"),
)
_DECLARED_WITHIN = 1 << 10


def read_head(stream: BinaryIO) -> tuple[bytes, BinaryIO]:
    """Return the first ``HEAD_BYTES`` of a stream, and a stream that still begins with them."""
    head = b""
    while len(head) < HEAD_BYTES and (block := stream.read(HEAD_BYTES - len(head))):
        head += block
    if stream.seekable():
        stream.seek(-len(head), io.SEEK_CUR)
        return head, stream
    return head, io.BufferedReader(_Rejoined(head, stream), buffer_size=1 << 16)


def is_zip(head: bytes) -> bool:
    """Return whether a file begins as a zip archive does."""
    return head.startswith(_ZIP)


def is_tar(head: bytes) -> bool:
    """Return whether a file begins as a tar archive does (POSIX or GNU)."""
    return head[_TAR_AT : _TAR_AT + len(_TAR)] == _TAR


def marked_encoding(head: bytes) -> str | None:
    """Return the encoding that a byte order mark names, if it is not UTF-8."""
    return next((name for mark, name in _MARKS if head.startswith(mark)), None)


def declared_encoding(head: bytes) -> str | None:
    """Return the encoding that a source file, XML or HTML declares in its first lines."""
    for pattern in _DECLARATIONS:
        if found := pattern.search(head[:_DECLARED_WITHIN]):
            return found[1].decode("ascii", "replace")
    return None


def not_text(head: bytes, path: PurePath, *, wide: bool = False) -> Reason | None:
    """Return why a file cannot be text, or None if it may be.

    Args:
        head: Its first bytes, decompressed.
        path: Its name.
        wide: Whether NUL bytes belong to the text, as in UTF-16.
    """
    if is_zip(head):
        zipped = path.suffix.lower() in _ZIPPED_DOCUMENTS
        return Reason.DOCUMENT if zipped else Reason.BINARY
    if head.lstrip(b"\xef\xbb\xbf\t\r\n ").startswith(_DOCUMENTS):
        return Reason.DOCUMENT
    if b"\0" in head and not wide and marked_encoding(head) is None:
        return Reason.BINARY
    return None


def is_plain(data: bytes) -> bool:
    """Return whether bytes hold no control characters but those that text holds."""
    return _BINARY_BYTES.search(data) is None


class _Rejoined(io.RawIOBase):
    """Stream of the bytes read ahead, followed by the rest."""

    def __init__(self, head: bytes, rest: BinaryIO) -> None:
        self._head = memoryview(head)
        self._rest = rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        target = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        data = self._head[: len(target)] or memoryview(self._rest.read(len(target)))
        self._head = self._head[len(data) :]
        target[: len(data)] = data
        return len(data)
