"""Parser of durations such as ``90s`` and ``1h30m``."""

from __future__ import annotations

import re

from ingot.errors import UsageError

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd])")


def parse_seconds(text: str, where: str = "budget") -> float:
    """Return the seconds of ``90s``, ``10m``, ``1h30m`` or a bare number of seconds.

    Args:
        text: The duration, of a second at least.
        where: What it was given for, named in an error.

    Raises:
        UsageError: the text is not a duration, or is out of range.
    """
    compact = text.strip().lower()
    try:
        seconds = float(compact)
    except ValueError:
        parts = _PART.findall(compact)
        if not parts or _PART.sub("", compact).strip():
            raise UsageError(
                f"{text!r} is not a time", where=where, fix="write 90s, 10m or 1h30m"
            ) from None
        seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
    if not 1 <= seconds < 1e9:
        raise UsageError(
            f"{text!r} is not between 1s and 10000d", where=where, fix="write 90s or 10m"
        )
    return seconds
