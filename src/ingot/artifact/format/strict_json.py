"""JSON from files that nobody has vouched for: one object, no surprises."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

from ingot.errors import ArtifactError


def parse_object(data: bytes, *, where: object) -> dict[str, Any]:
    """Parse UTF-8 JSON whose root is an object.

    Stricter than ``json.loads``: a key given twice, NaN and infinities are
    refused, because two readers could understand them differently.

    Raises:
        ArtifactError: anything else than one well-formed object.
    """
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_unique_keys,
            parse_float=_finite,
            parse_constant=_no_constant,
        )
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"is not valid JSON ({error})", where=where) from error
    if not isinstance(value, dict):
        raise ArtifactError("is not a JSON object", where=where)
    return value


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build an object, refusing a key that comes twice."""
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"key {twice[:80]!r} comes twice")
    return found


def _finite(text: str) -> float:
    """Parse a number such as 1e999 only if it fits a float."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"number {text[:20]} is out of range")
    return value


def _no_constant(text: str) -> NoReturn:
    """Refuse NaN and Infinity, which are not JSON."""
    raise ValueError(f"{text} is not JSON")
