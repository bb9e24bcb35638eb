"""A foreign ``config.json``, read key by key; a key that nobody reads is refused by name."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from ingot.errors import ArtifactError

_MISSING: Any = object()


class ConfigFields:
    """The keys of a config, each taken out when it is read.

    Args:
        data: The parsed JSON object; not changed.
        where: What to call it in an error.
    """

    def __init__(self, data: Mapping[str, Any], *, where: object) -> None:
        self.where = where
        self._left = dict(data)

    def __contains__(self, name: str) -> bool:
        return name in self._left

    def integer(self, name: str, default: int | None = _MISSING) -> int:
        """Take a whole number."""
        value: int = self._typed(name, (int,), "a whole number", default)
        return value

    def optional_integer(self, name: str, default: int | None = None) -> int | None:
        """Take a whole number or null."""
        value: int | None = self._optional(name, (int,), "a whole number or null", default)
        return value

    def number(self, name: str, default: float | None = _MISSING) -> float:
        """Take a number as a float."""
        return _as_float(self._typed(name, (int, float), "a number", default))

    def optional_number(self, name: str) -> float | None:
        """Take a number as a float, or null."""
        value = self._optional(name, (int, float), "a number or null", None)
        return None if value is None else _as_float(value)

    def flag(self, name: str, default: bool = _MISSING) -> bool:
        """Take true or false."""
        value: bool = self._typed(name, (bool,), "true or false", default)
        return value

    def text(self, name: str, default: str = _MISSING) -> str:
        """Take a text."""
        value: str = self._typed(name, (str,), "a text", default)
        return value

    def integers(self, name: str) -> list[int] | None:
        """Take a list of whole numbers, or null."""
        value: list[int] | None = self._optional(name, (list,), "a list of whole numbers", None)
        if value is not None and not all(type(item) is int for item in value):
            raise self.wrong(name, "must be a list of whole numbers")
        return value

    def numbers(self, name: str) -> tuple[float, ...] | None:
        """Take a list of numbers, or null."""
        value = self._optional(name, (list,), "a list of numbers", None)
        if value is None:
            return None
        if not all(type(item) in (int, float) for item in value):
            raise self.wrong(name, "must be a list of numbers")
        return tuple(map(_as_float, value))

    def texts(self, name: str) -> list[str] | None:
        """Take a list of texts, or null."""
        value: list[str] | None = self._optional(name, (list,), "a list of texts", None)
        if value is not None and not all(isinstance(item, str) for item in value):
            raise self.wrong(name, "must be a list of texts")
        return value

    def table(self, name: str) -> ConfigFields | None:
        """Take an object, or null; its own keys must be read too."""
        value = self._optional(name, (dict,), "an object or null", None)
        return None if value is None else ConfigFields(value, where=f"{self.where} ({name})")

    def require(self, name: str, allowed: Iterable[object], *, default: object = None) -> object:
        """Take a value that must be one of a few; a missing one is ``default``.

        Raises:
            ArtifactError: another value, which Ingot cannot compute.
        """
        value = self._left.pop(name, default)
        for each in allowed:
            if value == each and type(value) is type(each):
                return value
        raise self.wrong(name, f"is {shown(value)}, which is not supported")

    def ignore(self, *names: str) -> None:
        """Drop keys that do not change what the model computes."""
        for name in names:
            self._left.pop(name, None)

    def finish(self) -> None:
        """Refuse the keys that were not read.

        Raises:
            ArtifactError: names the first of them.
        """
        if self._left:
            name = min(self._left)
            raise ArtifactError(
                f"key {name[:80]!r} is not understood",
                where=self.where,
                fix="Ingot could compute something else than the model; see docs/import.md",
            )

    def wrong(self, name: str, what: str) -> ArtifactError:
        """Return the error of a field."""
        return ArtifactError(f"{name} {what}", where=self.where)

    def _typed(self, name: str, kinds: tuple[type, ...], what: str, default: Any) -> Any:
        value = self._left.pop(name, default)
        if value is _MISSING:
            raise self.wrong(name, "is missing")
        if type(value) not in kinds:  # not isinstance: true is an int
            raise self.wrong(name, f"must be {what}, got {shown(value)}")
        return value

    def _optional(self, name: str, kinds: tuple[type, ...], what: str, default: Any) -> Any:
        value = self._left.pop(name, default)
        if value is not None and type(value) not in kinds:
            raise self.wrong(name, f"must be {what}, got {shown(value)}")
        return value


def _as_float(value: float) -> float:
    """Return a number of JSON as a float; one that is too large for any becomes infinite."""
    try:
        return float(value)
    except OverflowError:
        return math.inf


def shown(value: object) -> str:
    """Return what a file says where something else is expected, for an error of one line."""
    return f"{value[:60]!r}" if isinstance(value, str) else repr(value)[:60]
