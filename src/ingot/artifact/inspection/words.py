"""Sizes, numbers and nested fields in words, for tables and pages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def size(nbytes: float) -> str:
    """Return a number of bytes in a unit of at most four digits."""
    if nbytes < 1000:
        return f"{nbytes:.0f} B"
    for unit in ("kB", "MB"):
        nbytes /= 1000
        if nbytes < 1000:
            return f"{nbytes:.1f} {unit}"
    return f"{nbytes / 1000:,.2f} GB"


def readable(value: object) -> object:
    """Return a large whole number with commas and a float in six digits, others unchanged."""
    if isinstance(value, float):
        return f"{value:.6g}"
    return f"{value:,}" if isinstance(value, int) and value > 9999 else value


def flat(fields: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Return the fields of nested objects by their paths."""
    found: list[tuple[str, Any]] = []
    for key, value in fields.items():
        if isinstance(value, Mapping):
            found += flat(value, f"{prefix}{key}.")
        else:
            found.append((f"{prefix}{key}", value))
    return found
