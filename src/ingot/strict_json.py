"""JSON from files that nobody has vouched for: one object, no surprises."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

from ingot.errors import ArtifactError

MAX_VALUES = 1_000_000
"""Most values of a file, unless its reader says otherwise. A byte of text can become 30 bytes of
objects, so a limit of bytes alone would not bound the memory."""

_MAX_DIGITS = 40  # tokenizers write 10**30 for "no limit"


def parse_object(data: bytes, *, where: object, max_values: int = MAX_VALUES) -> dict[str, Any]:
    """Parse UTF-8 JSON whose root is an object, in time linear in its length.

    Stricter than ``json.loads``: a key given twice, NaN and infinities are
    refused, because two readers could understand them differently.

    Args:
        data: The text; its length is for the caller to limit.
        where: What to call it in an error.
        max_values: Most values in it, nested ones included.

    Raises:
        ArtifactError: anything else than one well-formed object.
    """
    check_values(data, where=where, max_values=max_values)
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_unique_keys,
            parse_float=_finite,
            parse_int=_bounded,
            parse_constant=_no_constant,
        )
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"is not valid JSON ({error})", where=where) from error
    if not isinstance(value, dict):
        raise ArtifactError("is not a JSON object", where=where)
    return value


def check_values(data: bytes, *, where: object, max_values: int = MAX_VALUES) -> None:
    """Refuse JSON of more than ``max_values`` values before it is parsed.

    Commas and brackets in texts count too: only ever too many, and found without memory.

    Raises:
        ArtifactError: there are more.
    """
    if sum(map(data.count, (b",", b"[", b"{"))) > max_values:
        raise ArtifactError(f"holds more than {max_values} values", where=where)


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build an object, refusing a key that comes twice."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"key {key[:80]!r} comes twice")
        found[key] = value
    return found


def _finite(text: str) -> float:
    """Parse a number such as 1e999 only if it fits a float."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"number {text[:20]} is out of range")
    return value


def _bounded(text: str) -> int:
    """Parse a whole number of a length that Python can also print."""
    if len(text) > _MAX_DIGITS:
        raise ValueError(f"number {text[:20]}… has more than {_MAX_DIGITS} digits")
    return int(text)


def _no_constant(text: str) -> NoReturn:
    """Refuse NaN and Infinity, which are not JSON."""
    raise ValueError(f"{text} is not JSON")
