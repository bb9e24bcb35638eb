"""``patternProperties`` of which every name is a property anyway.

The compiler takes the names of ``properties`` and ``required`` out of what a pattern matches. Where
nothing is left it still offers a further member, and no token can begin it: the answer would fail
midway. Such a pattern says no more than that its schema also holds for those properties.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_SPECIAL = frozenset("\\^$.|?*+()[]{}")
_MAX_REPEATS = 8
_MAX_LENGTH = 2000


def without_empty_patterns(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a prepared schema in which each pattern leaves a name that is not a property."""
    patterns = schema.get("patternProperties")
    if not patterns:
        return schema
    properties = dict(schema.get("properties", {}))
    listed = {*properties, *schema.get("required", ())}
    kept = {}
    for pattern, value in patterns.items():
        names = names_of(pattern, most=len(listed))
        if names is None or not names <= listed:
            kept[pattern] = value
            continue
        for name in sorted(names):
            properties[name] = _both(properties.get(name, True), value)
    if kept == patterns:
        return schema
    made = {name: one for name, one in schema.items() if name != "patternProperties"}
    # An empty one would be written before the names, which decides the order.
    return (
        made
        | ({"properties": properties} if properties else {})
        | ({"patternProperties": kept} if kept else {})
    )


def names_of(pattern: str, *, most: int) -> set[str] | None:
    """Return all names that a pattern matches; None if they may be more than ``most``."""
    if len(pattern) > _MAX_LENGTH:
        return None
    try:
        return _Reader(pattern, most).read()
    except (_UnknownError, RecursionError):
        return None


class _UnknownError(Exception):
    """The pattern matches more names, or has a part whose matches are not listed here."""


class _Reader:
    """A recursive descent over a pattern; each part lists what it matches."""

    def __init__(self, pattern: str, most: int) -> None:
        self._pattern, self._at, self._most = pattern, 0, most

    def read(self) -> set[str]:
        self._take("^")
        found = self._sequence()
        self._take("$")
        if self._peek():
            raise _UnknownError
        return found

    def _alternatives(self) -> set[str]:
        found = self._sequence()
        while self._peek() == "|":
            self._at += 1
            found = self._bounded(found | self._sequence())
        return found

    def _sequence(self) -> set[str]:
        found = {""}
        while self._peek() not in {"", "|", ")", "$"}:
            found = self._joined(found, self._repeated(self._atom()))
        return found

    def _atom(self) -> set[str]:
        character = self._next()
        if character == "(":
            if self._pattern.startswith("?:", self._at):
                self._at += 2
            found = self._alternatives()
            self._take(")")
            return found
        if character == "[":
            return self._bounded(set(self._members()))
        return {self._literal(character)}

    def _members(self) -> Iterator[str]:
        """Yield the characters of a class, which must not be negated."""
        if self._peek() in {"^", "]"}:
            raise _UnknownError
        while (character := self._next()) != "]":
            if character in "[&~-":  # sets within sets
                raise _UnknownError
            first = self._literal(character, in_class=True)
            if self._peek() != "-":
                yield first
                continue
            self._at += 1
            last = self._literal(self._next(), in_class=True)
            if ord(last) - ord(first) > self._most or last in "[]":
                raise _UnknownError
            yield from map(chr, range(ord(first), ord(last) + 1))

    def _literal(self, character: str, *, in_class: bool = False) -> str:
        if character == "\\":
            escaped = self._next()
            if escaped.isalnum():  # a class, an anchor or a code
                raise _UnknownError
            return escaped
        if character in _SPECIAL and not in_class:
            raise _UnknownError
        return character

    def _repeated(self, found: set[str]) -> set[str]:
        """Apply the repetition that follows a part, if there is one."""
        follows = self._peek()
        if follows == "?":
            self._at += 1
            least, most = 0, 1
        elif follows == "{":
            end = self._pattern.find("}", self._at)
            low, comma, high = self._pattern[self._at + 1 : max(end, 0)].partition(",")
            if not low.isdecimal() or (comma and not high.isdecimal()):
                raise _UnknownError
            least, most, self._at = int(low), int(high or low), end + 1
        else:
            return found
        if most > _MAX_REPEATS or self._peek() in {"?", "*", "+", "{"}:
            raise _UnknownError
        made: set[str] = set()
        times = {""}
        for count in range(most + 1):
            made |= times if count >= least else set()
            times = self._joined(times, found) if count < most else times
        return self._bounded(made)

    def _joined(self, first: set[str], second: set[str]) -> set[str]:
        if len(first) * len(second) > max(self._most, 1) * 64:
            raise _UnknownError
        return self._bounded({one + other for one in first for other in second})

    def _bounded(self, found: set[str]) -> set[str]:
        if len(found) > max(self._most, 1):
            raise _UnknownError
        return found

    def _peek(self) -> str:
        return self._pattern[self._at : self._at + 1]

    def _next(self) -> str:
        character = self._peek()
        if not character:
            raise _UnknownError
        self._at += 1
        return character

    def _take(self, character: str) -> None:
        if self._next() != character:
            raise _UnknownError


def _both(one: Any, other: Any) -> Any:
    """Return the schema of values that match two schemas."""
    if one is True or one == {}:
        return other
    if other is True or other == {}:
        return one
    return {"allOf": [one, other]}
