"""Tool calls in the text of an answer.

A call begins with ``<tool_call>``. It ends where the JSON value after that ends, not where its
closing tag is first seen: an argument may hold that tag as text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

import orjson

from ingot.model.tool_text import CLOSING, OPENING
from ingot.server.schemas.chat import CalledFunction, MadeToolCall
from ingot.server.schemas.identifiers import new_id

_SPACE = re.compile(r"[ \t\r\n]*")
_OUTSIDE = re.compile(r'["{}\[\]]')
_INSIDE = re.compile(r'["\\]')
# A call as models write it, up to the brace of its arguments.
_HEAD = re.compile(
    r'\s*\{\s*"name"\s*:\s*"(?P<name>[A-Za-z0-9_-]{1,64})"\s*,\s*"arguments"\s*:\s*(?=\{)'
)
_DECODER = json.JSONDecoder()


@dataclass(frozen=True)
class CallBegun:
    """A call whose arguments follow."""

    index: int
    """Its number in the answer."""
    id: str
    name: str


@dataclass(frozen=True)
class CallArguments:
    """The next part of a call's arguments."""

    index: int
    text: str


@dataclass(frozen=True)
class CallEnded:
    """The end of a call's arguments."""

    index: int
    whole: bool
    """False where the answer ended within them."""


Part = str | CallBegun | CallArguments | CallEnded
"""Of an answer, in order; a string is plain text."""


def joined(parts: Iterable[Part]) -> tuple[str, list[MadeToolCall]]:
    """Return the plain text of parts, and the calls that begin in them, with their arguments."""
    text: list[str] = []
    begun: dict[int, CallBegun] = {}
    arguments: dict[int, list[str]] = {}
    for part in parts:
        if isinstance(part, str):
            text.append(part)
        elif isinstance(part, CallBegun):
            begun[part.index], arguments[part.index] = part, []
        elif isinstance(part, CallArguments):
            arguments[part.index].append(part.text)
    calls = [
        MadeToolCall(call.id, index, CalledFunction(call.name, "".join(arguments[index])))
        for index, call in begun.items()
    ]
    return "".join(text), calls


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

    Text is passed on at once, but for what may begin a call. What only looks like one is
    text; white space right after a call is not.
    """

    single: bool = False
    """Whether an answer ends with its first call; what comes after it is dropped."""
    streamed: Collection[str] = ()
    """Names of tools whose calls are passed on while they arrive: from the brace of its
    arguments a call cannot be taken back. Other calls are passed on whole, once they are sound."""
    count: int = 0
    """Calls found so far."""
    _held: str = field(default="", repr=False)
    _end: _ValueEnd | None = field(default=None, repr=False)
    """The search within a call that has begun; ``_held`` begins with its opening then."""
    _closed: bool = field(default=False, repr=False)
    """Whether that search has found the end of the value."""
    _arguments: _ValueEnd | None = field(default=None, repr=False)
    """The search within arguments that are passed on; ``_held`` is what follows them."""
    _after_arguments: bool = field(default=False, repr=False)
    """Whether those have ended, but not their call."""
    _after_call: bool = field(default=False, repr=False)

    def push(self, text: str) -> list[Part]:
        """Take the next text; return what is certain now."""
        self._held += text
        parts: list[Part] = []
        while self._step(parts):
            pass
        return [part for part in parts if part != ""]

    def flush(self, *, cut: bool) -> list[Part]:
        """Return what was held back at the end of the answer.

        Args:
            cut: Whether the answer ends for its length; then what may be half a call is dropped.
        """
        held, self._held = self._held, ""
        begun, self._end = self._end, None
        if self._arguments:
            rest: list[Part] = [CallArguments(self.count - 1, held)] if held else []
            return [*rest, CallEnded(self.count - 1, whole=False)]
        if self._after_arguments:
            return []
        if begun and self._closed:  # only the closing tag is missing
            call = self._call(held[len(OPENING) : begun.offset])
            if call and CLOSING.startswith(held[begun.offset :].strip()):
                return call
        if cut and (begun or OPENING.startswith(held.rstrip())):
            return []
        plain = self._plain(held)
        return [plain] if plain else []

    def _step(self, parts: list[Part]) -> bool:
        """Read on; return whether there may be more to read."""
        if self._arguments:
            return self._pass_on_arguments(parts, self._arguments)
        if self._after_arguments:
            return self._leave_call()
        if self.single and self.count:
            self._held, self._end = "", None
            return False
        if self._end is None:
            return self._begin(parts)
        return self._begin_arguments(parts) or self._read_whole(parts, self._end)

    def _begin(self, parts: list[Part]) -> bool:
        """Look for the beginning of a call; return whether there is one, or may be further on."""
        before, opening, rest = self._held.partition(OPENING)
        certain = len(before) if opening else len(before) - _overlap(before)
        parts.append(self._plain(before[:certain]))
        self._held = self._held[certain:]
        if not opening:
            return False
        value = rest.lstrip(" \t\r\n")
        if not value:
            return False
        if not value.startswith("{"):
            parts.append(self._plain(OPENING))
            self._held = rest
            return True
        self._end, self._closed = _ValueEnd(len(self._held) - len(value)), False
        return True

    def _begin_arguments(self, parts: list[Part]) -> bool:
        """Begin to pass on a call, if it is one of those that are streamed."""
        head = _HEAD.match(self._held, len(OPENING)) if self.streamed else None
        if head is None or head["name"] not in self.streamed:
            return False
        parts.append(CallBegun(self.count, _new_id(), head["name"]))
        self.count += 1
        self._held, self._end = self._held[head.end() :], None
        self._arguments = _ValueEnd(0)
        return True

    def _pass_on_arguments(self, parts: list[Part], end: _ValueEnd) -> bool:
        """Pass on arguments as far as they have arrived."""
        index, ended = self.count - 1, end.found(self._held)
        if end.offset:
            parts.append(CallArguments(index, self._held[: end.offset]))
        self._held, end.offset = self._held[end.offset :], 0
        if ended:
            parts.append(CallEnded(index, whole=True))
            self._arguments, self._after_arguments = None, True
        return ended

    def _leave_call(self) -> bool:
        """Skip the brace and the tag that end a call; without them it ends with its arguments."""
        rest = self._held.lstrip(" \t\r\n")
        rest = rest.removeprefix("}").lstrip(" \t\r\n")
        if len(rest) < len(CLOSING) and CLOSING.startswith(rest):
            return False  # it may still come
        self._held = rest.removeprefix(CLOSING)
        self._after_arguments, self._after_call = False, True
        return True

    def _read_whole(self, parts: list[Part], value: _ValueEnd) -> bool:
        """Read a call that is passed on whole, once it has arrived."""
        if not self._closed:
            self._closed = value.found(self._held)
            if not self._closed:
                return False
        end = value.offset
        rest = self._held[_after_space(self._held, end) :]
        if len(rest) < len(CLOSING) and CLOSING.startswith(rest):
            return False  # it may still come
        call = self._call(self._held[len(OPENING) : end]) if rest.startswith(CLOSING) else None
        if call is None:
            parts.append(self._plain(self._held[:end]))
            self._held = self._held[end:]
        else:
            parts += call
            self._after_call = True
            self._held = rest[len(CLOSING) :]
        self._end = None
        return True

    def _plain(self, text: str) -> str:
        """Return text without the white space that follows a call."""
        if self._after_call:
            text = text.lstrip()
            self._after_call = not text
        return text

    def _call(self, value: str) -> list[Part] | None:
        """Return the call that a value says; the arguments stay as they are written."""
        try:
            orjson.loads(value)  # strict: refuses NaN, and numbers that no float64 holds
            said = _members(value.strip())
        except (ValueError, RecursionError):
            return None
        name, arguments = (said.get(key, (None, "")) for key in ("name", "arguments"))
        if not isinstance(name[0], str) or not isinstance(arguments[0], dict):
            return None
        index, self.count = self.count, self.count + 1
        begun = CallBegun(index, _new_id(), name[0])
        return [begun, CallArguments(index, arguments[1]), CallEnded(index, whole=True)]


def _new_id() -> str:
    return new_id("call_")[:29]


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
