"""``propertyNames`` as keywords that the compiler enforces.

zod and pydantic write it for records and dictionaries: names that are any string, one of a
list, of a length, or of a pattern.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from ingot.inference.request.json_schema import keywords as kw
from ingot.inference.request.json_schema.references import resolved

_MAX_REPEATED = 16 << 10  # characters of values that are written once for each name
_LENGTHS = {"minLength", "maxLength"}
_KNOWN = {"type", "enum", "const", "pattern", "format", "$schema", "$id", "id", *_LENGTHS}


def with_property_names(
    schema: dict[str, Any], root: Any, cannot: Callable[[str], None]
) -> dict[str, Any]:
    """Return a schema without ``propertyNames`` that allows no other names.

    Args:
        schema: The schema; its subschemas are prepared.
        root: The document, for references.
        cannot: Called with the keyword if it cannot be enforced; it is dropped if that returns.
    """
    names = resolved(schema.get("propertyNames", True), root)
    rest = {keyword: value for keyword, value in schema.items() if keyword != "propertyNames"}
    if names is True or "propertyNames" not in schema:
        return rest
    made = _limited(rest, names)
    if made is None:
        cannot("propertyNames")
        return rest
    return made


def _limited(schema: dict[str, Any], names: Any) -> dict[str, Any] | None:
    """Return the schema with its names limited; None where there is no way to write it."""
    properties = schema.get("properties", {})
    if names is False:
        return schema | {"maxProperties": 0}
    if not isinstance(names, dict):
        return None
    names = {name: value for name, value in names.items() if name not in kw.ANNOTATIONS}
    if isinstance(names.get("anyOf"), list) and all(
        isinstance(one, dict) and "const" in one and one.keys() <= {"const", "type"}
        for one in names["anyOf"]
    ):  # zod's union of literals
        names = names | {"enum": [one["const"] for one in names["anyOf"]]}
        del names["anyOf"]
    told = {k: v for k, v in names.items() if k in _KNOWN and k not in {"$schema", "$id", "id"}}
    if not names.keys() <= _KNOWN or "string" not in _types(told):
        return None
    told = {keyword: value for keyword, value in told.items() if keyword not in {"type", "format"}}
    if not told:
        return schema
    if "patternProperties" in schema:
        return None
    value = schema.get("additionalProperties", True)
    if told.keys() <= {"enum", "const"}:
        return _one_of_names([name for name in _named(told) if isinstance(name, str)], schema)
    pattern = _pattern(told)
    if pattern is None or properties:
        return None
    return schema | {"patternProperties": {pattern: value}, "additionalProperties": False}


def _one_of_names(names: list[str], schema: dict[str, Any]) -> dict[str, Any] | None:
    """Return the schema with a list of names; None where it would become too large."""
    properties, value = schema.get("properties", {}), schema.get("additionalProperties", True)
    closed = schema | {"additionalProperties": False}
    if len(names) * len(json.dumps(value)) <= _MAX_REPEATED:
        return closed | {"properties": {name: properties.get(name, value) for name in names}}
    others = [re.escape(name) for name in dict.fromkeys(names) if name not in properties]
    if not set(names).isdisjoint(schema.get("required", ())):
        return None  # the compiler needs to know these by name
    closed["properties"] = {name: properties[name] for name in names if name in properties}
    if others:
        closed["patternProperties"] = {f"^(?:{'|'.join(others)})$": value}
    return closed


def _types(names: dict[str, Any]) -> list[Any]:
    kind = names.get("type", "string")
    return kind if isinstance(kind, list) else [kind]


def _named(told: dict[str, Any]) -> list[Any]:
    named = told.get("enum", [told.get("const")])
    if not isinstance(named, list):  # a reference led to what is not a schema
        return []
    return [name for name in named if "const" not in told or name == told["const"]]


def _pattern(told: dict[str, Any]) -> str | None:
    if told.keys() <= {"pattern"}:
        return str(told["pattern"])
    if told.keys() <= _LENGTHS and all(isinstance(count, int) for count in told.values()):
        most = told.get("maxLength", "")
        return rf"^[\s\S]{{{told.get('minLength', 0)},{most}}}$"
    return None
