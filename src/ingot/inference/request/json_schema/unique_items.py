"""``uniqueItems``, where it can be enforced.

A grammar has no memory of the items before. What can be written out are arrays of at most one
item, and sets of a few values, as their subsets in the order of the list.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from ingot.inference.request.json_schema import keywords as kw
from ingot.inference.request.json_schema.references import resolved

_MAX_VALUES = 6  # 64 subsets


def with_unique_items(
    schema: dict[str, Any], root: Any, cannot: Callable[[str], None]
) -> dict[str, Any]:
    """Return a schema without ``uniqueItems`` that allows no array with equal items.

    Args:
        schema: The schema; its subschemas are prepared.
        root: The document, for references.
        cannot: Called with the keyword if it cannot be enforced; it is dropped if that returns.
    """
    unique = schema.get("uniqueItems", False)
    rest = {keyword: value for keyword, value in schema.items() if keyword != "uniqueItems"}
    if unique is not True or rest.get("maxItems", 2) <= 1:
        return rest
    values = _values(resolved(rest.get("items"), root))
    if values is None or rest.get("type") != "array" or "prefixItems" in rest or "anyOf" in rest:
        cannot("uniqueItems")
        return rest
    least, most = rest.get("minItems", 0), rest.get("maxItems", len(values))
    subsets = [
        subset
        for size in range(least, min(most, len(values)) + 1)
        for subset in itertools.combinations(values, size)
    ]
    if not subsets:
        return rest | {"maxItems": 0, "minItems": 1}  # which the compiler refuses by name
    arrays = [
        {
            "type": "array",
            "prefixItems": [{"const": value} for value in subset],
            "items": False,
            "minItems": len(subset),
            "maxItems": len(subset),
        }
        for subset in subsets
    ]
    kept = {name: rest[name] for name in ("$defs", "definitions", "$id", "$schema") if name in rest}
    return kept | {"anyOf": arrays}


def _values(items: Any) -> list[Any] | None:
    """Return the values that an item can have, if they are few."""
    if not isinstance(items, dict):
        return None
    if items.get("type") == "boolean" and "enum" not in items and "const" not in items:
        return [False, True]
    values = items.get("enum", [items["const"]] if "const" in items else None)
    told = items.keys() - kw.ANNOTATIONS
    if not isinstance(values, list) or not told <= {"enum", "const", "type"}:
        return None
    distinct: list[Any] = []
    for value in values:
        if value not in distinct:
            distinct.append(value)
        if len(distinct) > _MAX_VALUES:
            return None
    return distinct
