"""Tool calls in the text of an answer.

A call begins with ``<tool_call>``. It ends where the JSON value after that ends, not where its
closing tag is first seen: an argument may hold that tag as text.
"""

from __future__ import annotations

import json
import re
import uuid
from dataclasses import dataclass, field

import orjson

from ingot.server.engine.tools import CLOSING, OPENING
from ingot.server.schemas.chat import CalledFunction, MadeToolCall

_SPACE = re.compile(r"[ \t\r\n]*")
_OUTSIDE = re.compile(r'["{}\[\]]')
_INSIDE = re.compile(r'["\\]')
_DECODER = json.JSONDecoder()


@dataclass
class _ValueEnd:
    """Search for the end of a JSON object in text that is still arriving, once over it."""

    offset: int
    """Where the search continues."""
    depth: int = 0
    in_string: bool = False

    def found(self, text: str) -> bool:
        """Search on; return whether ``offset`` is the end."""
        while found := (_INSIDE if self.in_string else _OUTSIDE).search(text, self.offset):
            character, self.offset = found[0], found.end()
            if character == "\\":
                if self.offset == len(text):  # what it escapes has not arrived
                    self.offset -= 1
                    return False
                self.offset += 1
            elif character == '"':
                self.in_string = not self.in_string
            else:
                self.depth += 1 if character in "{[" else -1
                if not self.depth:
                    return True
        self.offset = len(text)
        return False


@dataclass
class ToolReader:
    """Incremental parser of the calls in an answer's text.

    Text is passed on at once, but for what may begin a call; a call is passed on
    whole. What only looks like one is text; white space right after a call is not.
    """

    single: bool = False
    """Whether an answer ends with its first call; what comes after it is dropped."""
    count: int = 0
    """Calls found so far."""
    _held: str = field(default="", repr=False)
    _end: _ValueEnd | None = field(default=None, repr=False)
    """The search within a call that has begun; ``_held`` begins with its opening then."""
    _closed: bool = field(default=False, repr=False)
    """Whether that search has found the end of the value."""
    _after_call: bool = field(default=False, repr=False)

    def push(self, text: str) -> tuple[str, list[MadeToolCall]]:
        """Take the next text; return what is plain text, and the calls now complete."""
        self._held += text
        plain: list[str] = []
        calls: list[MadeToolCall] = []
        while self._step(plain, calls):
            pass
        return "".join(plain), calls

    def flush(self, *, cut: bool) -> tuple[str, list[MadeToolCall]]:
        """Return what was held back at the end of the answer.

        Args:
            cut: Whether the answer ends for its length; then what may be half a call is dropped.
        """
        held, self._held = self._held, ""
        begun, self._end = self._end, None
        if begun and self._closed:  # only the closing tag is missing
            call = self._call(held[len(OPENING) : begun.offset])
            if call is not None and CLOSING.startswith(held[begun.offset :].strip()):
                return "", [call]
        if cut and (begun or OPENING.startswith(held.rstrip())):
            return "", []
        return self._plain(held), []

    def _step(self, plain: list[str], calls: list[MadeToolCall]) -> bool:
        """Read on; return whether there may be more to read."""
        if self.single and self.count:
            self._held, self._end = "", None
            return False
        if self._end is None:
            return self._begin(plain)
        if not self._closed:
            self._closed = self._end.found(self._held)
            if not self._closed:
                return False
        end = self._end.offset
        closing = _SPACE.match(self._held, end)
        rest = self._held[closing.end() if closing else end :]
        if len(rest) < len(CLOSING) and CLOSING.startswith(rest):
            return False  # it may still come
        call = self._call(self._held[len(OPENING) : end]) if rest.startswith(CLOSING) else None
        if call is None:
            plain.append(self._plain(self._held[:end]))
            self._held = self._held[end:]
        else:
            calls.append(call)
            self._after_call = True
            self._held = rest[len(CLOSING) :]
        self._end = None
        return True

    def _begin(self, plain: list[str]) -> bool:
        """Look for the beginning of a call; return whether there is one, or may be further on."""
        before, opening, rest = self._held.partition(OPENING)
        certain = len(before) if opening else len(before) - _overlap(before)
        plain.append(self._plain(before[:certain]))
        self._held = self._held[certain:]
        if not opening:
            return False
        value = rest.lstrip(" \t\r\n")
        if not value:
            return False
        if not value.startswith("{"):
            plain.append(self._plain(OPENING))
            self._held = rest
            return True
        self._end, self._closed = _ValueEnd(len(self._held) - len(value)), False
        return True

    def _plain(self, text: str) -> str:
        """Return text without the white space that follows a call."""
        if self._after_call:
            text = text.lstrip()
            self._after_call = not text
        return text

    def _call(self, value: str) -> MadeToolCall | None:
        """Return the call that a value says; the arguments stay as they are written."""
        try:
            orjson.loads(value)  # strict: refuses NaN, and numbers that no float64 holds
            said = _members(value.strip())
        except (ValueError, RecursionError):
            return None
        name, arguments = (said.get(key, (None, "")) for key in ("name", "arguments"))
        if not isinstance(name[0], str) or not isinstance(arguments[0], dict):
            return None
        self.count += 1
        function = CalledFunction(name[0], arguments[1])
        return MadeToolCall(f"call_{uuid.uuid4().hex[:24]}", self.count - 1, function)


def _members(text: str) -> dict[str, tuple[object, str]]:
    """Return the members of a JSON object: each value, and how it is written."""
    members: dict[str, tuple[object, str]] = {}
    offset = _after_space(text, 1)
    while text[offset] != "}":
        key, offset = _DECODER.raw_decode(text, offset)
        begin = _after_space(text, _after_space(text, offset) + 1)  # past the colon
        value, offset = _DECODER.raw_decode(text, begin)
        members[key] = value, text[begin:offset]
        offset = _after_space(text, offset)
        if text[offset] == ",":
            offset = _after_space(text, offset + 1)
    return members


def _after_space(text: str, offset: int) -> int:
    found = _SPACE.match(text, offset)
    return found.end() if found else offset


def _overlap(text: str) -> int:
    """Return the length of the longest end of the text that may begin a call."""
    longest = min(len(text), len(OPENING) - 1)
    return next((n for n in range(longest, 0, -1) if OPENING.startswith(text[-n:])), 0)
