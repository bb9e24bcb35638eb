"""``oneOf`` as ``anyOf``, where no value can match two of its schemas.

pydantic and OpenAPI write a union with a discriminator as ``oneOf`` of references. The
discriminator may be optional there, because it has a default; then it is made required, which
tells the schemas apart.
"""

from __future__ import annotations

import itertools
import json
from typing import Any

from ingot.inference.request.json_schema.keywords import TYPES, refusal
from ingot.inference.request.json_schema.references import resolved

_MAX_PAIRED = 32  # as every two of them are compared
_FIX = "use anyOf, or give each a property with a const of its own"


def make_exclusive(root: dict[str, Any], *, strict: bool) -> dict[str, Any]:
    """Replace every ``oneOf`` of a prepared schema, in place, and return it.

    Args:
        root: The schema.
        strict: Refuse a ``oneOf`` of which a value may match two schemas.

    Raises:
        UsageError: there is one.
    """
    unread: list[tuple[Any, str]] = [(root, "#")]
    while unread:
        value, path = unread.pop()
        if isinstance(value, dict):
            # A property may be called oneOf; then its value is a schema, not a list.
            if isinstance(value.get("oneOf"), list):
                _replace(value, path, root, strict)
            unread.extend(
                (inner, f"{path}/{name}")
                for name, inner in value.items()
                if name not in {"const", "enum"}
            )
        elif isinstance(value, list):
            unread.extend((inner, f"{path}/{index}") for index, inner in enumerate(value))
    return root


def _replace(schema: dict[str, Any], path: str, root: dict[str, Any], strict: bool) -> None:
    options = schema["oneOf"]
    told = [resolved(option, root) for option in options]
    apart = _list_apart(told) or _require_discriminator(told) or _all_disjoint(told, root)
    if not apart and strict:
        raise refusal("oneOf", path, "has schemas that one value may match together", _FIX)
    if "anyOf" in schema:
        schema["allOf"] = [*schema.get("allOf", ()), {"anyOf": schema.pop("oneOf")}]
        return
    # The order of keywords decides the order of properties.
    items = [("anyOf" if name == "oneOf" else name, inner) for name, inner in schema.items()]
    schema.clear()
    schema.update(items)


def _list_apart(schemas: list[Any]) -> bool:
    """Return whether all list values, and no two the same; takes linear time."""
    seen: set[str] = set()
    for schema in schemas:
        constants = _constants(schema)
        if constants is None or not seen.isdisjoint(constants):
            return False
        seen |= constants
    return True


def _all_disjoint(options: list[Any], root: Any) -> bool:
    return len(options) <= _MAX_PAIRED and all(
        _disjoint(one, other, root) for one, other in itertools.combinations(options, 2)
    )


def _disjoint(one: Any, other: Any, root: Any) -> bool:
    """Return whether certainly no value matches both schemas."""
    if _differ(one, other):
        return True
    if not isinstance(one, dict) or not isinstance(other, dict):
        return False
    return _types(one) == _types(other) == {"object"} and any(
        _told_apart(one, other, name, root) for name in {*_required(one), *_required(other)}
    )


def _told_apart(one: dict[str, Any], other: dict[str, Any], name: str, root: Any) -> bool:
    """Return whether a required property is of different constants or types in both."""
    first, second = (_properties(schema).get(name) for schema in (one, other))
    if first is None or second is None:
        closed = one if first is None else other
        return closed.get("additionalProperties") is False and "patternProperties" not in closed
    return _differ(resolved(first, root), resolved(second, root))


def _differ(first: Any, second: Any) -> bool:
    """Return whether two properties are of different types, or list different values."""
    if not isinstance(first, dict) or not isinstance(second, dict):
        return first is False or second is False
    if not _types(first) & _types(second):
        return True
    one, other = _constants(first), _constants(second)
    return one is not None and other is not None and not one & other


def _require_discriminator(options: list[Any]) -> bool:
    """Make a property required that tells all schemas apart; return whether there is one."""
    if not all(isinstance(one, dict) and _types(one) == {"object"} for one in options):
        return False
    names = [_properties(one) for one in options]
    for name in names[0]:
        if not all(name in properties for properties in names):
            continue
        if _list_apart([properties[name] for properties in names]):
            for one in options:
                one["required"] = list(dict.fromkeys([*_required(one), name]))
            return True
    return False


def _types(schema: dict[str, Any]) -> set[str]:
    """Return the types that a schema can match, as far as it says at once."""
    kind = schema.get("type")
    if not isinstance(kind, str | list):
        constants = schema.get("enum", [schema["const"]] if "const" in schema else None)
        if not isinstance(constants, list):
            return set(TYPES)
        return {_type_of(value) for value in constants}
    kinds = {kind} if isinstance(kind, str) else {one for one in kind if isinstance(one, str)}
    return kinds | ({"integer"} if "number" in kinds else set())


def _type_of(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    names = {dict: "object", list: "array", str: "string", int: "integer", float: "number"}
    return (
        "integer"
        if isinstance(value, float) and value.is_integer()
        else names.get(type(value), "null")
    )


def _constants(schema: Any) -> set[str] | None:
    """Return the values that a schema lists, as JSON; None if it lists none."""
    if not isinstance(schema, dict):
        return None
    values = [schema["const"]] if "const" in schema else schema.get("enum")
    return {_canonical(value) for value in values} if isinstance(values, list) else None


def _required(schema: dict[str, Any]) -> list[str]:
    # A reference may lead to what is not a schema; the compiler refuses it, not this.
    names = schema.get("required")
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []


def _properties(schema: dict[str, Any]) -> dict[str, Any]:
    properties = schema.get("properties")
    return properties if isinstance(properties, dict) else {}


def _canonical(value: Any) -> str:
    """Return one text for all forms of a value: 1.0 is 1, in any order of names."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, list):
        return "[" + ",".join(map(_canonical, value)) + "]"
    if isinstance(value, dict):
        return (
            "{"
            + ",".join(f"{json.dumps(k)}:{_canonical(v)}" for k, v in sorted(value.items()))
            + "}"
        )
    return json.dumps(value)
