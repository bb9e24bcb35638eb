"""Latency objectives of a request, and whether it keeps them."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any

from pydantic import ConfigDict, Field, ValidationError
from pydantic.dataclasses import dataclass as _checked

from ingot.errors import UsageError, invalid_field

_MOST_TEXT = 200
_UNITS = {"ms": 1e-3, "s": 1.0, "m": 60.0}
_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|s|m)")
_NUMBER = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,6})?")
_FORM = "write it like ttft=1s,itl=50ms,p=99"

_STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


@_checked(frozen=True, config=_STRICT)
class Objective:
    """Longest times that an answer may take, for a share of the requests.

    A request is in time if its first token came within ``ttft_s`` and, of the times between its
    tokens, that percentage was within ``itl_s``; one of them may always be longer.
    """

    ttft_s: Annotated[float, Field(ge=1e-3, le=3600)] | None = None
    """Most seconds from the request's arrival to its first token; None sets no limit."""
    itl_s: Annotated[float, Field(ge=1e-4, le=60)] | None = None
    """Most seconds between two tokens; None sets no limit."""
    percentile: Annotated[float, Field(ge=50, lt=100)] = 99.0
    """Percentage of requests, and of the times between an answer's tokens, for which it holds."""

    def __str__(self) -> str:
        parts = [
            f"{name}={_duration(seconds)}"
            for name, seconds in (("ttft", self.ttft_s), ("itl", self.itl_s))
            if seconds is not None
        ]
        return ",".join([*parts, f"p={self.percentile:g}"])

    def is_tighter_than(self, other: Objective) -> bool:
        """Return whether it asks for more than another in any respect."""
        times = ((self.ttft_s, other.ttft_s), (self.itl_s, other.itl_s))
        faster = any((own or math.inf) < (limit or math.inf) for own, limit in times)
        return faster or self.percentile > other.percentile


@lru_cache(maxsize=256)
def parse_objective(text: str, *, where: str = "objective") -> Objective:
    """Return the objective that a text such as ``ttft=1s,itl=50ms,p=99`` states.

    Args:
        text: Times in ``ms``, ``s`` or ``m``; at least one of ``ttft`` and ``itl``.
        where: What an error names.

    Raises:
        UsageError: the text has another form, names a key that is not known or names one twice,
            or a value is out of range.
    """
    if len(text) > _MOST_TEXT:
        raise UsageError(f"is longer than {_MOST_TEXT} characters", where=where, fix=_FORM)
    fields: dict[str, float] = {}
    for part in text.split(","):
        key, _, value = (piece.strip() for piece in part.partition("="))
        name = {"ttft": "ttft_s", "itl": "itl_s", "p": "percentile"}.get(key)
        if name is None:
            raise UsageError(f"{key[:40]!r} is not ttft, itl or p", where=where, fix=_FORM)
        if name in fields:
            raise UsageError(f"names {key} twice", where=where, fix=_FORM)
        fields[name] = _percentage(value, where) if key == "p" else _seconds(key, value, where)
    if "ttft_s" not in fields and "itl_s" not in fields:
        raise UsageError("names neither ttft nor itl", where=where, fix=_FORM)
    return checked_objective(fields, where=where)


def checked_objective(fields: dict[str, Any], *, where: str = "objective") -> Objective:
    """Return the objective with these fields.

    Raises:
        UsageError: a value is out of range.
    """
    try:
        return Objective(**fields)
    except ValidationError as error:
        first = invalid_field(error)
        raise UsageError(first.problem, where=where, fix=_FORM) from error


def _seconds(key: str, value: str, where: str) -> float:
    found = _DURATION.fullmatch(value)
    if found is None:
        raise UsageError(f"{key} is {value[:40]!r}, not a time", where=where, fix=_FORM)
    return float(found[1]) * _UNITS[found[2]]


def _percentage(value: str, where: str) -> float:
    if _NUMBER.fullmatch(value) is None:
        raise UsageError(f"p is {value[:40]!r}, not a percentage", where=where, fix=_FORM)
    return float(value)


def _duration(seconds: float) -> str:
    return f"{seconds:g}s" if seconds >= 1 else f"{seconds * 1e3:g}ms"


@dataclass(slots=True)
class Timeliness:
    """How far a request has kept its objective; times are those of one clock that never goes back.

    Args:
        objective: What it is held to.
        arrived: When the request arrived.
        most_gaps: Most times between tokens that its answer can have.
    """

    objective: Objective
    arrived: float
    most_gaps: int
    given_up: bool = False
    """Whether it was accepted although it would be late: it gives way from the start."""
    forecast_s: float | None = None
    """Seconds to its first token, as foreseen when it was accepted."""
    first_at: float | None = None
    """When its first token came."""
    last_at: float = 0.0
    """When its last token came."""
    gaps: int = 0
    late_gaps: int = 0
    kept: bool | None = None
    """Whether its answer, which has ended, was in time; None before, and if its client left."""

    @property
    def due(self) -> float:
        """When its first token must have come."""
        return self.arrived + (self.objective.ttft_s or math.inf)

    def token(self, now: float) -> None:
        """Record that a token came."""
        if self.first_at is None:
            self.first_at = now
        else:
            self.gaps += 1
            self.late_gaps += now - self.last_at > (self.objective.itl_s or math.inf)
        self.last_at = now

    def lost(self, now: float) -> bool:
        """Return whether it can no longer be in time, whatever happens."""
        first = now if self.first_at is None else self.first_at
        return self.given_up or first > self.due or self.late_gaps > self._allowed(self.most_gaps)

    @property
    def in_time(self) -> bool:
        """Whether an answer that has ended kept its objective."""
        if self.first_at is None:
            return False
        return self.first_at <= self.due and self.late_gaps <= self._allowed(self.gaps)

    def _allowed(self, gaps: int) -> int:
        share = (100 - self.objective.percentile) / 100
        return math.ceil(share * gaps - 1e-9)
