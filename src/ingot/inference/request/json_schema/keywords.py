"""Keywords of JSON Schema, and what becomes of each.

Source: https://json-schema.org/draft/2020-12/json-schema-validation, and the drafts before it
as far as generators still write them.
"""

from __future__ import annotations

from typing import Any

from ingot.errors import UsageError

SUBSCHEMAS = frozenset({"items", "additionalItems", "additionalProperties"})
"""Keywords whose value is a schema; ``items`` may be a list of them in older drafts."""
SCHEMA_LISTS = frozenset({"anyOf", "oneOf", "allOf", "prefixItems"})
SCHEMA_MAPS = frozenset({"properties", "patternProperties", "$defs", "definitions"})
COUNTS = frozenset(
    {"minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"}
)
BOUNDS = frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"})
VALUES = frozenset({"const", "enum"})
IDENTIFIERS = frozenset({"$ref", "$schema", "$id", "id", "$anchor"})
REWRITTEN = frozenset({"propertyNames", "unevaluatedProperties", "uniqueItems", "not"})
"""Keywords that are enforced in some forms, by others that mean the same."""
OTHERS = frozenset({"type", "required", "pattern", "format", "multipleOf"})
UNENFORCEABLE = frozenset(
    {
        *("if", "then", "else", "contains", "minContains", "maxContains"),
        *("dependentRequired", "dependentSchemas", "dependencies"),
        *("unevaluatedItems", "$dynamicRef", "$recursiveRef"),
    }
)
ENFORCED = SUBSCHEMAS | SCHEMA_LISTS | SCHEMA_MAPS | COUNTS | BOUNDS | VALUES | OTHERS
ANNOTATIONS = frozenset(
    {
        *("title", "description", "default", "examples", "example", "deprecated", "$comment"),
        *("readOnly", "writeOnly", "discriminator", "nullable", "xml", "externalDocs"),
        *("contentEncoding", "contentMediaType", "contentSchema"),
        *("$vocabulary", "$dynamicAnchor", "$recursiveAnchor"),
    }
)
"""The usual ones. JSON Schema also calls every keyword an annotation that it does not know."""
FORMATS = frozenset(
    {
        *("date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6"),
        *("uuid", "uri"),
    }
)
"""Formats that are enforced; every other one is an annotation."""
TYPES = frozenset({"null", "boolean", "integer", "number", "string", "array", "object"})

Schema = dict[str, Any] | bool


def refusal(keyword: str, path: str, problem: str, fix: str) -> UsageError:
    """Return the error for a keyword at ``path``, a JSON pointer to its schema."""
    shown = path if len(path) <= 120 else f"{path[:60]}…{path[-60:]}"
    shown = "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in shown)
    return UsageError(f'"{keyword}" at {shown} {problem}', where="json_schema", fix=fix)
