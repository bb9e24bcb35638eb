"""Multipart form bodies, parsed as they arrive, within bounds.

Source: RFC 7578 (multipart/form-data), RFC 2046 section 5.1 (delimiters).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ingot.server.http.errors import ApiError

_MAX_PARTS = 16
_MAX_HEADER_BYTES = 8192
_BOUNDARY = re.compile(
    r"""multipart/form-data\s*;\s*boundary=("?)([0-9A-Za-z'()+_,\-./:=?]{1,70})\1""", re.IGNORECASE
)
_DISPOSITION = re.compile(rb"content-disposition:[ \t]*form-data[ \t]*((?:;.*)?)", re.IGNORECASE)
_PARAMETER = re.compile(rb';[ \t]*(name|filename)=(?:"((?:[^"\\]|\\.)*)"|([^;" \t]*))')


@dataclass(frozen=True)
class Part:
    """The beginning of a form's field."""

    name: str
    filename: str | None
    """Set if the field is a file."""


class MultipartParser:
    """Splits a form into the beginnings and the contents of its fields.

    Args:
        content_type: The request's header.

    Raises:
        ApiError: 415 if it is not of a form, or names no valid boundary.
    """

    def __init__(self, content_type: str) -> None:
        found = _BOUNDARY.fullmatch(content_type.strip())
        if found is None:
            raise ApiError(
                415, "the body must be sent with Content-Type: multipart/form-data; boundary=…"
            )
        self._delimiter = b"\r\n--" + found[2].encode()
        self._buffer = bytearray(b"\r\n")  # so that the first delimiter looks like the others
        self._parts = 0
        self._state = self._before_first
        self.complete = False
        """Whether the closing delimiter has been read; what follows is dropped."""

    def feed(self, data: bytes) -> Iterator[Part | bytes]:
        """Take the next bytes of the body; yield each field's beginning, then pieces of content.

        Raises:
            ApiError: 400 if it is not a form, or has more fields or longer heads than permitted.
        """
        if self.complete:
            return
        self._buffer += data
        while (event := self._state()) is not None:
            if event:
                yield event

    def finish(self) -> None:
        """End the body.

        Raises:
            ApiError: 400 if the form is not complete.
        """
        if not self.complete:
            raise _malformed("it ends before its closing delimiter")

    # Each state takes what it can from the buffer. It returns None to wait for more bytes, and
    # b"" where the next state may continue.

    def _before_first(self) -> Part | bytes | None:
        if len(self._buffer) < len(self._delimiter):
            if not self._delimiter.startswith(self._buffer):
                raise _malformed("it does not begin with its delimiter")
            return None
        if not self._buffer.startswith(self._delimiter):
            raise _malformed("it does not begin with its delimiter")
        del self._buffer[: len(self._delimiter)]
        self._state = self._after_delimiter
        return b""

    def _after_delimiter(self) -> Part | bytes | None:
        if len(self._buffer) < 2:
            return None
        mark = bytes(self._buffer[:2])
        del self._buffer[:2]
        if mark == b"--":
            self.complete = True
            self._buffer.clear()
            return None
        if mark != b"\r\n":
            raise _malformed("a delimiter is not followed by a line end")
        self._parts += 1
        if self._parts > _MAX_PARTS:
            raise _malformed(f"it has over {_MAX_PARTS} fields")
        self._state = self._in_head
        return b""

    def _in_head(self) -> Part | bytes | None:
        end = self._buffer.find(b"\r\n\r\n", 0, _MAX_HEADER_BYTES)
        if end < 0:
            if len(self._buffer) >= _MAX_HEADER_BYTES:
                raise _malformed(f"the head of a field is over {_MAX_HEADER_BYTES} bytes")
            return None
        head = bytes(self._buffer[:end])
        del self._buffer[: end + 4]
        self._state = self._in_content
        return _part(head)

    def _in_content(self) -> Part | bytes | None:
        end = self._buffer.find(self._delimiter)
        if end >= 0:
            content = bytes(self._buffer[:end])
            del self._buffer[: end + len(self._delimiter)]
            self._state = self._after_delimiter
            return content
        sure = len(self._buffer) - len(self._delimiter) + 1  # the rest may begin a delimiter
        if sure <= 0:
            return None
        content = bytes(self._buffer[:sure])
        del self._buffer[:sure]
        return content


def _part(head: bytes) -> Part:
    """Return the name and the file name that a field's head gives."""
    for line in head.split(b"\r\n"):
        if found := _DISPOSITION.fullmatch(line):
            parameters = {
                match[1]: re.sub(rb"\\(.)", rb"\1", match[2]) if match[2] is not None else match[3]
                for match in _PARAMETER.finditer(found[1])
            }
            if b"name" not in parameters:
                break
            filename = parameters.get(b"filename")
            return Part(
                parameters[b"name"].decode("utf-8", "replace"),
                None if filename is None else filename.decode("utf-8", "replace"),
            )
    raise _malformed("a field has no name")


def _malformed(why: str) -> ApiError:
    return ApiError(400, f"the form is not valid: {why}", code="invalid_form")
