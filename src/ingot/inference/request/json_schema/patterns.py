"""Regular expressions with look-ahead, which the compiler does not take.

Look-ahead at the beginning is a second pattern for the same text. The negative one in zod's
addresses and durations has an equal form without it.
"""

from __future__ import annotations

from typing import Any

_LABELS = r"@([A-Za-z0-9][A-Za-z0-9\-]*\.)+[A-Za-z]{2,}$"
_SECONDS = r"\d+([.,]\d+)?S"
_DAYS = r"\d+Y(\d+M)?(\d+D)?|\d+M(\d+D)?|\d+D"
_TIME = rf"T(?:\d+H(\d+M)?({_SECONDS})?|\d+M({_SECONDS})?|{_SECONDS})"
_EQUAL = {
    # zod 4, z.email(): no dot first, no two dots together.
    r"^(?!\.)(?!.*\.\.)([A-Za-z0-9_'+\-\.]*)[A-Za-z0-9_+-]" + _LABELS: (
        r"^([A-Za-z0-9_'+\-]+\.)*[A-Za-z0-9_'+\-]*[A-Za-z0-9_+\-]" + _LABELS
    ),
    # zod 4, z.iso.duration(): at least one part, and weeks alone.
    r"^P(?:(\d+W)|(?!.*W)(?=\d|T\d)(\d+Y)?(\d+M)?(\d+D)?"
    r"(T(?=\d)(\d+H)?(\d+M)?(\d+([.,]\d+)?S)?)?)$": (
        rf"^P(?:\d+W|(?:{_DAYS})(?:{_TIME})?|{_TIME})$"
    ),
}
_AHEAD = "(?="


def without_look_ahead(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema in whose ``pattern`` look-ahead is written as further patterns."""
    pattern: str = _EQUAL.get(schema["pattern"], schema["pattern"])
    further: list[str] = []
    while pattern.startswith("^" + _AHEAD):
        end = _closing(pattern, 1)
        if end is None:
            break
        further.append(f"^(?:{pattern[1 + len(_AHEAD) : end]})")
        pattern = "^" + pattern[end + 1 :]
    made = schema | {"pattern": pattern}
    if further:
        more = [{"type": "string", "pattern": one} for one in further]
        made["allOf"] = [*schema.get("allOf", ()), *more]
    return made


def _closing(pattern: str, opening: int) -> int | None:
    """Return where the group that begins at ``opening`` ends."""
    depth, index, in_class = 0, opening, False
    while index < len(pattern):
        character = pattern[index]
        if character == "\\":
            index += 1
        elif in_class:
            in_class = character != "]"
        elif character == "[":
            in_class = True
        elif character == "(":
            depth += 1
        elif character == ")":
            depth -= 1
            if not depth:
                return index
        index += 1
    return None
