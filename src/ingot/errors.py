"""Errors that a user can cause or meet, each with its own exit code.

An error says what was wrong, where, and what to do, in one line. The command
line prints that line and exits with the code; a library user catches
``IngotError`` or one of its kinds.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

if TYPE_CHECKING:  # pydantic takes 0.1 s to import, and most verbs' --help needs none of it
    from pydantic import ValidationError

_LONGEST_PART, _LONGEST_PATH, _LONGEST_INPUT, _LONGEST_PROBLEM = 60, 200, 40, 300
_MOST_FAULTS = 256
TOO_MANY = "too_many"
"""Kind of fault where so many fields are wrong that none is named."""
_ALIKE = 0.6  # difflib's own measure of a close match


class IngotError(Exception):
    """Base class of every error that Ingot raises on purpose.

    Args:
        what: What was wrong, as a short clause without a full stop.
        where: The file, field or address concerned; goes first in the message.
        fix: What the user can do about it.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, *, where: object = None, fix: str | None = None) -> None:
        self.what = what
        self.where = None if where is None else str(where)
        self.fix = fix
        super().__init__(str(self))

    def __str__(self) -> str:
        """Return ``where: what; fix`` on one line."""
        head = f"{self.where}: {self.what}" if self.where else self.what
        text = f"{head}; {self.fix}" if self.fix else head
        return printable(" ".join(text.split()))


class UsageError(IngotError):
    """An argument or request that cannot be carried out as given."""

    exit_code = 2


class CorpusError(IngotError):
    """Text that cannot be read, or a built corpus that is damaged."""

    exit_code = 3


class RecipeError(IngotError):
    """A recipe, override or budget that cannot be trained."""

    exit_code = 4


class TrainingError(IngotError):
    """A run that cannot continue, or whose checkpoint is damaged."""

    exit_code = 5


class ArtifactError(IngotError):
    """An ingot that is missing, malformed or fails a digest."""

    exit_code = 6


class ServeError(IngotError):
    """A server or engine that cannot start or has stopped."""

    exit_code = 7


class ResourceError(IngotError):
    """The machine ran out of disk, memory or another resource."""

    exit_code = 8


class Interrupted(IngotError):  # noqa: N818 (requested, so not an error)
    """A stop that was requested; finished work is saved and can be resumed."""

    exit_code = 130


def printable(text: str) -> str:
    """Return a text with control characters escaped: names in it may come from a stranger."""
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in text
    )


_Error = TypeVar("_Error", bound=IngotError)
_AS_NAMED: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class InvalidField:
    """The first field that pydantic refused, in words for a user."""

    path: str
    """Where it is, such as ``messages[0].content``; empty for the whole value."""
    kind: str
    """Pydantic's type of error, such as ``missing`` or ``extra_forbidden``."""
    problem: str
    """What is wrong, such as ``temperature must be at most 2, got 7``."""
    fix: str
    """What to do, such as ``lower it``."""


def from_validation(  # noqa: PLR0913 (one place for all translations)
    kind: type[_Error],
    error: ValidationError,
    *,
    where: object = None,
    what: str | None = None,
    fix: str | None = None,
    noun: str = "field",
    known: Collection[str] = (),
    renamed: Mapping[str, str] = _AS_NAMED,
    show_input: bool = True,
) -> _Error:
    """Turn pydantic's error into one of Ingot's, on one line.

    Args:
        kind: The class of the error to return.
        error: What pydantic raised. Only its first field is named.
        where: The file or object that was checked.
        what: A clause to put before the field, such as ``is not a valid manifest``.
        fix: What to do, where the field's own fix does not help.
        noun: What a field is called here: ``field``, ``key`` or ``setting``.
        known: Paths of fields that exist; the nearest is suggested for an unknown one.
        renamed: What the file calls a field whose name in the model differs.
        show_input: Whether short values may be repeated; set it to False near secrets.
    """
    first = invalid_field(error, noun=noun, known=known, renamed=renamed, show_input=show_input)
    problem = f"{what} ({first.problem})" if what else first.problem
    return kind(problem, where=where, fix=fix or first.fix)


def invalid_field(
    error: ValidationError,
    *,
    noun: str = "field",
    known: Collection[str] = (),
    renamed: Mapping[str, str] = _AS_NAMED,
    hidden: Collection[str] = (),
    show_input: bool = True,
) -> InvalidField:
    """Describe the first field that pydantic refused; unknown fields go first.

    Args:
        error: What pydantic raised.
        noun: What a field is called here.
        known: Paths of fields that exist; the nearest is suggested for an unknown one.
        renamed: What the file calls a field whose name in the model differs.
        hidden: Parts of a path to leave out after its first, such as the tags of a union.
        show_input: Whether numbers and short texts may be repeated.
    """
    # Each costs a kilobyte and 3 µs to describe, and a file of strangers can hold a million.
    if error.error_count() > _MOST_FAULTS:
        count = error.error_count()
        return InvalidField(
            "", TOO_MANY, f"holds {count:,} unknown or wrong {noun}s", "remove them"
        )
    found = error.errors(include_url=False)
    # An unknown field may be a misspelt one, and the reason why another is missing.
    found.sort(key=lambda fault: fault["type"] != "extra_forbidden")
    first = found[0]
    kind, context = first["type"], first.get("ctx", {})
    location = [*first["loc"][:1], *(part for part in first["loc"][1:] if part not in hidden)]
    path = _path(renamed.get(str(part), part) for part in location)
    if kind == "extra_forbidden":
        near = nearest(path, known)
        fix = f'did you mean "{near}"?' if near else "remove it"
        shown = " ".join(path.split())  # a client's own name may hold line breaks
        return InvalidField(path, kind, f'unknown {noun} "{shown}"', fix)
    problem, fix = _problem(kind, first["msg"], context)
    if show_input and kind not in {"missing", "json_invalid"}:
        problem += _got(first["input"])
    problem = " ".join(problem.split())[:_LONGEST_PROBLEM]
    if not path:
        return InvalidField(path, kind, problem, fix)
    joint = " " if re.match(r"(is|must) ", problem) else ": "
    return InvalidField(path, kind, f"{path}{joint}{problem}", fix)


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name most like ``name``, or None if none resembles it.

    Dotted names are compared as a whole and by their last part, so a right key in a wrong
    section is found.
    """
    name = name[:_LONGEST_PATH]
    last = name.rpartition(".")[2]

    def likeness(candidate: str) -> float:
        whole = difflib.SequenceMatcher(None, name, candidate).ratio()
        part = difflib.SequenceMatcher(None, last, candidate.rpartition(".")[2]).ratio()
        return (whole + part) / 2

    best = max(known, key=likeness, default=None)
    return best if best is not None and likeness(best) >= _ALIKE else None


_BOUNDS = {
    "less_than_equal": ("le", "at most", "lower it"),
    "less_than": ("lt", "less than", "lower it"),
    "greater_than_equal": ("ge", "at least", "raise it"),
    "greater_than": ("gt", "more than", "raise it"),
}


def _problem(kind: str, message: str, context: dict[str, Any]) -> tuple[str, str]:
    """Return what is wrong with a field and what to do, without the field's name."""
    if kind in _BOUNDS:
        key, words, fix = _BOUNDS[kind]
        bound = context[key]
        number = f"{bound:g}" if isinstance(bound, float) else str(bound)
        return f"must be {words} {number}", fix
    if kind == "missing":
        return "is missing", "add it"
    if kind == "json_invalid":
        return f"is not valid JSON: {message.removeprefix('Invalid JSON: ')}", "correct it"
    if kind.endswith(("_parsing", "_from_float")):
        message = message.partition(",")[0]  # the rest says of the input what _got shows
    message = message.removeprefix("Value error, ")
    message = re.sub(r"^Input is ", "is ", message)
    message = re.sub(r"^[A-Z]\w+ should ", "must ", message)
    return message[:1].lower() + message[1:], "correct it"


def _got(value: object) -> str:
    """Return ``, got 7`` for a short plain value and nothing for another one."""
    if isinstance(value, bool | float | None) or (
        # Longer ones cannot all be printed: Python refuses more than 4,300 digits.
        isinstance(value, int) and abs(value) < 10**18
    ):
        return f", got {json.dumps(value)}"
    if isinstance(value, str) and len(value) <= _LONGEST_INPUT and value.isprintable():
        return f", got {json.dumps(value, ensure_ascii=False)}"
    return ""


def _path(parts: Iterable[int | str]) -> str:
    """Join the parts of a field's path: ``messages[0].content``."""
    path = ""
    for part in parts:
        if isinstance(part, int):
            path += f"[{part}]"
        else:
            path += f".{part[:_LONGEST_PART]}" if path else part[:_LONGEST_PART]
    return path[:_LONGEST_PATH]
