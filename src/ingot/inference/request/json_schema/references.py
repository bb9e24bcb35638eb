"""References within a schema."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

_DEFINITIONS = ("$defs", "definitions")
_MAX_CHAIN = 32


def resolved(schema: Any, root: Any) -> Any:
    """Return what a schema refers to if it is a reference into ``root``, else itself."""
    for _ in range(_MAX_CHAIN):
        if not isinstance(schema, dict) or not isinstance(schema.get("$ref"), str):
            break
        names = _names(schema["$ref"])
        target = None if names is None else _at(root, names)
        if target is None:
            break
        schema = target
    return schema


def used_definitions(root: dict[str, Any]) -> dict[str, Any]:
    """Return a schema without the definitions that nothing refers to.

    Generators write all that they know, and one that is not used cannot matter.
    """
    reached: set[tuple[str, ...]] = set()
    unread: list[Any] = [{name: root[name] for name in root if name not in _DEFINITIONS}]
    while unread:
        for reference in _references(unread.pop()):
            names = _names(reference)
            if names is None:
                return root  # an anchor or an address, which may be any definition's
            if len(names) > 1 and names[0] in _DEFINITIONS and names[:2] not in reached:
                reached.add(names[:2])
                unread.append(_at(root, names[:2]))
    return root | {
        group: {name: one for name, one in root[group].items() if (group, name) in reached}
        for group in _DEFINITIONS
        if isinstance(root.get(group), dict)
    }


def _names(reference: str) -> tuple[str, ...] | None:
    """Return the names of a reference of the form ``#/a/b`` (RFC 6901), None for another form."""
    if reference == "#":
        return ()
    if not reference.startswith("#/"):
        return None
    parts = unquote(reference[2:]).split("/")
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in parts)


def _at(root: Any, names: tuple[str, ...]) -> Any:
    place = root
    for name in names:
        if isinstance(place, dict) and name in place:
            place = place[name]
        elif isinstance(place, list) and name.isdecimal() and int(name) < len(place):
            place = place[int(name)]
        else:
            return None
    return place


def _references(schema: Any) -> Iterator[str]:
    """Yield every ``$ref`` within a value."""
    unread = [schema]
    while unread:
        value = unread.pop()
        if isinstance(value, dict):
            if isinstance(value.get("$ref"), str):
                yield value["$ref"]
            unread.extend(value.values())
        elif isinstance(value, list):
            unread.extend(value)
