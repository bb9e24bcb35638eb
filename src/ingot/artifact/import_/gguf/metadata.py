"""Typed access to GGUF metadata that remembers which keys were understood."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ingot.artifact.import_.gguf.header_reader import Value
from ingot.errors import ArtifactError

_Number = TypeVar("_Number", int, float)

_INTEGER = "a whole number from 0 up"
_SCALARS = (int, float, str, bool)


class Metadata:
    """The keys of a file; each that is asked for counts as understood.

    Args:
        values: Every key and its value.
        where: What to call the file in an error.
    """

    def __init__(self, values: Mapping[str, Value], where: object) -> None:
        self._values, self._where = values, where
        self._understood: set[str] = set()

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def integer(self, key: str, default: int | None = None) -> int:
        """Return a whole number from 0 up.

        Raises:
            ArtifactError: the key is missing and there is no default, or holds something else.
        """
        value = self._take(key, default)
        if type(value) is not int or value < 0:
            raise self.wrong(key, f"must be {_INTEGER}")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        """Return a finite number; raises as ``integer`` does."""
        value = self._take(key, default)
        if type(value) not in (int, float) or not math.isfinite(value):  # type: ignore[arg-type]
            raise self.wrong(key, "must be a finite number")
        return float(value)  # type: ignore[arg-type]  # checked

    def flag(self, key: str, default: bool | None = None) -> bool:
        """Return a truth value; raises as ``integer`` does."""
        value = self._take(key, default)
        if not isinstance(value, bool):
            raise self.wrong(key, "must be a truth value")
        return value

    def text(self, key: str, default: str | None = None) -> str:
        """Return a text; raises as ``integer`` does."""
        value = self._take(key, default)
        if not isinstance(value, str):
            raise self.wrong(key, "must be a text")
        return value

    def is_array(self, key: str) -> bool:
        """Tell whether a key holds an array of numbers or of truth values."""
        return isinstance(self._values.get(key), np.ndarray)

    def texts(self, key: str) -> list[str]:
        """Return a list of texts; raises as ``integer`` does."""
        value = self._take(key, None)
        if not isinstance(value, list):
            raise self.wrong(key, "must be a list of texts")
        return value

    def numbers(self, key: str) -> NDArray[np.generic]:
        """Return an array of numbers or of truth values; raises as ``integer`` does."""
        value = self._take(key, None)
        if not isinstance(value, np.ndarray):
            raise self.wrong(key, "must be an array of numbers")
        return value

    def same_for_all(self, key: str, layers: int, default: int | None = None) -> int:
        """Return a whole number that may be given once, or for each layer if all are alike."""
        value = self._take(key, default)
        if not isinstance(value, np.ndarray):
            return self.integer(key, default)
        if len(value) != layers or value.dtype.kind not in "iu" or (value != value[0]).any():
            raise self.wrong(key, f"must be one number, or {layers} that are alike")
        if value[0] < 0:
            raise self.wrong(key, f"must be {_INTEGER}")
        return int(value[0])

    def irrelevant(self, keys: Collection[str]) -> None:
        """Mark keys as understood that say nothing about what the model computes."""
        self._understood |= set(keys)

    def plain(self, prefix: str) -> dict[str, int | float | str | bool]:
        """Return the single values whose keys begin with ``prefix``, for the record."""
        return {
            key: value
            for key, value in self._values.items()
            if key.startswith(prefix) and isinstance(value, _SCALARS)
        }

    def check_all_understood(self, prefixes: Collection[str]) -> None:
        """Refuse the first key under one of the prefixes that nothing asked for.

        Raises:
            ArtifactError: names the key.
        """
        for key in sorted(self._values.keys() - self._understood):
            if key.startswith(tuple(prefixes)):
                raise self.wrong(key, "is not understood, and may change what the model computes")

    def wrong(self, key: str, problem: str) -> ArtifactError:
        """Return the error of one key."""
        return ArtifactError(f"{key[:200]} {problem}", where=self._where)

    def _take(self, key: str, default: _Number | str | None) -> Value:
        self._understood.add(key)
        value = self._values.get(key, default)
        if value is None:
            raise self.wrong(key, "is missing")
        return value
